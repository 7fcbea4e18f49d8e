//! Writes the JavaScript bindings of a wasm module: `bindgen MODULE.wasm FOLDER`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(module), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("expected the wasm module and the folder for the bindings".into());
    };
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen.input_path(std::path::PathBuf::from(module)).web(true)?.typescript(true).omit_default_module_path(true);
    Ok(bindgen.generate(std::path::PathBuf::from(folder))?)
}
