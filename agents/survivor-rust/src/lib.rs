//! The survivor in Rust: its state and what it says are those of agents/survivor, byte for byte, so that one may go on where the other stopped.

mod godwit;
mod state;
mod text;

use godwit::log;
use state::State;
use std::cell::RefCell;
use text::{seconds, time};

/// Ticks come every second; this much without one, and something happened.
const GAP_NS: i64 = 3_000_000_000;
const MILESTONE_TICKS: u64 = 10;

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
    /// What `agent_checkpoint_ptr` points to.
    static CHECKPOINT: RefCell<Vec<u8>> = RefCell::default();
}

impl State {
    fn tick(&mut self) {
        let now_ns = godwit::now_ns();
        let price = godwit::price();
        self.ticks += 1;
        if self.ticks == 1 {
            self.be_born(now_ns, price);
        } else {
            self.notice_gap(now_ns);
            self.notice_move(self.price(), price);
        }
        self.last_tick_ns = now_ns;
        if self.ticks % MILESTONE_TICKS == 0 {
            self.report_milestone(now_ns);
        }
    }

    fn be_born(&mut self, now_ns: i64, price: i64) {
        self.born_ns = now_ns;
        self.mark = u64::from_le_bytes(godwit::random());
        self.arrive(1, price);
        log(&format!("born at {} on a host of price {price}; mark {:x}", time(now_ns), self.mark));
    }

    fn notice_gap(&mut self, now_ns: i64) {
        let away_ns = now_ns - self.last_tick_ns;
        if away_ns <= GAP_NS {
            return;
        }
        self.gaps += 1;
        self.longest_gap_ns = self.longest_gap_ns.max(away_ns);
        log(&format!(
            "gap of {} before tick {} (number {}, longest {})",
            seconds(away_ns),
            self.ticks,
            self.gaps,
            seconds(self.longest_gap_ns)
        ));
    }

    fn notice_move(&mut self, before: i64, price: i64) {
        if price == before {
            return;
        }
        self.moves += 1;
        self.arrive(self.ticks, price);
        log(&format!(
            "moved before tick {}: price {before} -> {price} (move {})",
            self.ticks, self.moves
        ));
    }

    fn report_milestone(&self, now_ns: i64) {
        log(&format!(
            "tick {}: {} old, {} moves, {} gaps",
            self.ticks,
            seconds(now_ns - self.born_ns),
            self.moves,
            self.gaps
        ));
    }
}

#[no_mangle]
pub extern "C" fn agent_init() {
    // A panic ends in a trap, and the host then knows no more than that: so it is said first.
    std::panic::set_hook(Box::new(|panic| log(&panic.to_string())));
    STATE.with(|state| *state.borrow_mut() = State::default());
}

#[no_mangle]
pub extern "C" fn agent_tick() {
    STATE.with(|state| state.borrow_mut().tick());
}

#[no_mangle]
pub extern "C" fn agent_checkpoint() -> i32 {
    let bytes = STATE.with(|state| state.borrow().to_bytes());
    CHECKPOINT.with(|checkpoint| {
        *checkpoint.borrow_mut() = bytes;
        checkpoint.borrow().len() as i32
    })
}

#[no_mangle]
pub extern "C" fn agent_checkpoint_ptr() -> *const u8 {
    CHECKPOINT.with(|checkpoint| checkpoint.borrow().as_ptr())
}

/// Room for a state that comes back; `agent_resume` takes it from there.
#[no_mangle]
pub extern "C" fn malloc(size: usize) -> *mut u8 {
    Box::into_raw(vec![0u8; size].into_boxed_slice()).cast()
}

/// Ends in a trap if the state is not one of its own: better not to run than to run on a wrong memory.
///
/// # Safety
/// The pointer came from `malloc` with this very length, as hosts do it.
#[no_mangle]
pub unsafe extern "C" fn agent_resume(pointer: *mut u8, length: usize) {
    if length == 0 {
        return; // never ticked, never checkpointed
    }
    let bytes = Box::from_raw(std::ptr::slice_from_raw_parts_mut(pointer, length));
    match State::from_bytes(&bytes) {
        Ok(found) => STATE.with(|state| *state.borrow_mut() = found),
        Err(why) => {
            log(&why);
            std::process::abort()
        }
    }
}
