//! What a host offers, of which survivor uses this. Each call needs the capability of its line in the manifest.

#[link(wasm_import_module = "godwit")]
extern "C" {
    fn clock_now() -> i64; // clock
    fn rand_bytes(to: *mut u8, length: i32) -> i32; // rand
    fn log_emit(from: *const u8, length: i32); // log
    fn node_price() -> i64; // pricing
}

/// Nanoseconds since 1970.
pub fn now_ns() -> i64 {
    unsafe { clock_now() }
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if unsafe { rand_bytes(bytes.as_mut_ptr(), N as i32) } != 0 {
        panic!("the host has no random bytes");
    }
    bytes
}

pub fn log(message: &str) {
    unsafe { log_emit(message.as_ptr(), message.len() as i32) }
}

/// Microcents a second.
pub fn price() -> i64 {
    unsafe { node_price() }
}
