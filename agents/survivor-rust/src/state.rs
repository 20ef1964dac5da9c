//! The state and its form in checkpoints, which is that of agents/survivor: see README.md there.

const MAGIC: u32 = 0x5652_5553; // "SURV"
const VERSION: u32 = 1;
const MAX_PLACES: usize = 16;
const BYTES: usize = 72 + MAX_PLACES * 16;

#[derive(Clone, Copy, Default)]
pub struct Place {
    pub tick: u64,
    pub price: i64,
}

#[derive(Default)]
pub struct State {
    pub ticks: u64,
    pub born_ns: i64,
    pub last_tick_ns: i64,
    pub gaps: u64,
    pub longest_gap_ns: i64,
    pub moves: u64,
    /// Eight random bytes of its first tick, by which two survivors can be told apart.
    pub mark: u64,
    /// Where it has been, oldest first; the newest 16.
    places: Vec<Place>,
}

impl State {
    /// Price of the host that it is on, as of the last tick; 0 in a state that names no place.
    pub fn price(&self) -> i64 {
        self.places.last().map_or(0, |place| place.price)
    }

    /// Adds to the places where it has been; of more than 16 the oldest is forgotten.
    pub fn arrive(&mut self, tick: u64, price: i64) {
        if self.places.len() == MAX_PLACES {
            self.places.remove(0);
        }
        self.places.push(Place { tick, price });
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.ticks.to_le_bytes());
        bytes.extend(self.born_ns.to_le_bytes());
        bytes.extend(self.last_tick_ns.to_le_bytes());
        bytes.extend(self.gaps.to_le_bytes());
        bytes.extend(self.longest_gap_ns.to_le_bytes());
        bytes.extend(self.moves.to_le_bytes());
        bytes.extend(self.mark.to_le_bytes());
        bytes.extend((self.places.len() as u32).to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
        for place in &self.places {
            bytes.extend(place.tick.to_le_bytes());
            bytes.extend(place.price.to_le_bytes());
        }
        bytes.resize(BYTES, 0);
        bytes
    }

    /// Says why if these are not the bytes of a survivor.
    pub fn from_bytes(bytes: &[u8]) -> Result<State, String> {
        let mut reader = Reader { left: bytes };
        if bytes.len() < 8 || reader.u32() != MAGIC {
            return Err("this is no state of a survivor".into());
        }
        let version = reader.u32();
        if version != VERSION {
            return Err(format!("the state has version {version}, this survivor reads version {VERSION}"));
        }
        if bytes.len() != BYTES {
            return Err(format!("the state has {} bytes, version 1 has {BYTES}", bytes.len()));
        }
        let mut state = State {
            ticks: reader.u64(),
            born_ns: reader.u64() as i64,
            last_tick_ns: reader.u64() as i64,
            gaps: reader.u64(),
            longest_gap_ns: reader.u64() as i64,
            moves: reader.u64(),
            mark: reader.u64(),
            places: Vec::new(),
        };
        let places = reader.u32() as usize;
        if places > MAX_PLACES {
            return Err("the state names more places than it can hold".into());
        }
        reader.u32();
        for _ in 0..places {
            state.places.push(Place { tick: reader.u64(), price: reader.u64() as i64 });
        }
        Ok(state)
    }
}

/// Its caller has compared the length.
struct Reader<'a> {
    left: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, left) = self.left.split_at(N);
        self.left = left;
        taken.try_into().expect("N bytes were taken")
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
