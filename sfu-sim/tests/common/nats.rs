//! A NATS server of the test's own: on loopback, a free port and a directory that goes away with it.

#![allow(unreachable_pub, reason = "also a module of unit tests")]

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
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("framelock-nats-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "host: 127.0.0.1\nport: -1\nmax_payload: 8MB\nports_file_dir: \"{0}\"\njetstream {{ store_dir: \"{0}\" }}\n",
            folder.display()
        );
        std::fs::write(folder.join("nats.conf"), config).unwrap();
        let program = ["/usr/sbin/nats-server", "/usr/local/bin/nats-server"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())
            .unwrap_or("nats-server");
        let started = Command::new(program)
            .arg("-c")
            .arg(folder.join("nats.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            eprintln!("NOT RUN: there is no nats-server here");
            let _ = std::fs::remove_dir_all(folder);
            return None;
        };
        let ports = folder.join(format!("nats-server_{}.ports", process.id()));
        let mut server = Self { process, folder, url: String::new() };
        let given_up = Instant::now() + Duration::from_secs(20);
        while server.url.is_empty() {
            assert!(Instant::now() < given_up, "nats-server does not start");
            std::thread::sleep(Duration::from_millis(20));
            let text = std::fs::read_to_string(&ports).unwrap_or_default();
            let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
            server.url = ports["nats"][0].as_str().unwrap().to_owned();
        }
        Some(server)
    }
}

impl NatsServer {
    /// Sends the server's process a signal, as in `STOP`.
    #[allow(dead_code, reason = "not every test that starts a server does this")]
    pub fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
