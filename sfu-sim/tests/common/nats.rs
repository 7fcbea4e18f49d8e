//! A NATS server of the test's own: on loopback, a free port and a directory that goes away with it.

#![allow(unreachable_pub, dead_code, reason = "also a module of unit tests; each uses its part")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub struct NatsServer {
    process: Child,
    folder: PathBuf,
    pub url: String,
}

impl NatsServer {
    /// None, said on standard error, where Debian's package nats-server is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with("")
    }

    fn start_with(more: &str) -> Option<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("framelock-nats-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "host: 127.0.0.1\nport: -1\nmax_payload: 8MB\nserver_name: \"test-{count}\"\nports_file_dir: \"{0}\"\n\
             jetstream {{ store_dir: \"{0}\" }}\n{more}\n",
            folder.display()
        );
        std::fs::write(folder.join("nats.conf"), config).unwrap();
        let Some(process) = launch(&folder) else {
            eprintln!("NOT RUN: there is no nats-server here");
            let _ = std::fs::remove_dir_all(folder);
            return None;
        };
        let mut server = Self { process, folder, url: String::new() };
        server.url = server.listens();
        Some(server)
    }

    /// Three servers that know of each other.
    pub fn start_cluster() -> Option<[Self; 3]> {
        // Each has to know the others' ports before they run.
        let ports =
            [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
        let [a, b, c] = ports.map(|port| {
            Self::start_with(&format!(
                "cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}"
            ))
        });
        Some([a?, b?, c?])
    }

    /// Waits until it listens, and says where.
    fn listens(&self) -> String {
        let ports = self.folder.join(format!("nats-server_{}.ports", self.process.id()));
        let given_up = Instant::now() + Duration::from_secs(20);
        loop {
            assert!(Instant::now() < given_up, "nats-server does not start");
            std::thread::sleep(Duration::from_millis(20));
            let text = std::fs::read_to_string(&ports).unwrap_or_default();
            if let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text) {
                return ports["nats"][0].as_str().unwrap().to_owned();
            }
        }
    }

    /// Ends the process at once, as a power cut does.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again after [`kill`](Self::kill), at the same address.
    pub fn restart(&mut self) {
        let port = self.url.rsplit(':').next().unwrap();
        let path = self.folder.join("nats.conf");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, config.replace("port: -1", &format!("port: {port}"))).unwrap();
        self.process = launch(&self.folder).unwrap();
        assert_eq!(self.listens(), self.url);
    }

    /// Sends the server's process a signal, as in `STOP`.
    pub fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

fn launch(folder: &std::path::Path) -> Option<Child> {
    let program = ["/usr/sbin/nats-server", "/usr/local/bin/nats-server"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
        .unwrap_or("nats-server");
    Command::new(program)
        .arg("-c")
        .arg(folder.join("nats.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
