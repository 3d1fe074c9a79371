//! The shim as a program of its own: `kore_node::shim::Shim::path`.

fn main() {
    kore_node::shim::init();
    eprintln!("kore-shim is started by a node agent for each container; it has no use of its own");
    std::process::exit(2);
}
