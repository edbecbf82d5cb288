//! The oracle that the tests with simulated disks share: a model of what was
//! submitted, and what a store may show after a crash.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::cast_possible_truncation, reason = "small random numbers")]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;
use std::sync::Arc;

use forebay_base::rng::Rng;
use forebay_base::value::codec::{decode_int, encode_int};
use forebay_base::{CoreId, TenantId, Timestamp};
use forebay_kv::testing::{Planted, SimDisk};
use forebay_kv::{CommitJob, Completion, Config, Error, NoWake, Op, Outcome, Store, Unavailable};

/// Counted and not copied: the model keeps its state after every batch.
pub type Bytes = Rc<[u8]>;
/// All keys of both tenants.
pub type State = BTreeMap<(u32, Bytes), Bytes>;

pub const NOW: Timestamp = Timestamp(1_000_000);
pub const CORES: u16 = 3;

/// An operation that owns its bytes.
#[derive(Clone, Debug)]
pub enum OwnedOp {
    Set(Bytes, Bytes),
    Del(Bytes),
    Snx(Bytes, Bytes),
    Cas(Bytes, Option<Bytes>, Option<Bytes>),
    Incr(Bytes, i64),
}

impl OwnedOp {
    pub fn borrow(&self) -> Op<'_> {
        match self {
            Self::Set(key, value) => Op::Set { key, value, expires: None },
            Self::Del(key) => Op::Del { key },
            Self::Snx(key, value) => Op::Snx { key, value, expires: None },
            Self::Cas(key, expected, new) => {
                Op::Cas { key, expected: expected.as_deref(), new: new.as_deref(), expires: None }
            }
            Self::Incr(key, by) => Op::Incr { key, by: *by },
        }
    }
}

/// What a batch does to `state`, by the definition and not by the code. If it fails nothing happened: `state` is
/// of no use then.
pub fn model(state: &mut State, tenant: u32, ops: &[OwnedOp]) -> (Outcome, Option<i64>, Bytes) {
    let mut number = None;
    for op in ops {
        let key = |k: &Bytes| (tenant, k.clone());
        let failed = match op {
            OwnedOp::Set(k, v) => {
                state.insert(key(k), v.clone());
                None
            }
            OwnedOp::Del(k) => {
                state.remove(&key(k));
                None
            }
            OwnedOp::Snx(k, v) => match state.entry(key(k)) {
                Entry::Occupied(_) => Some((Outcome::Conflict, k)),
                Entry::Vacant(place) => {
                    place.insert(v.clone());
                    None
                }
            },
            OwnedOp::Cas(k, expected, new) => {
                if state.get(&key(k)) == expected.as_ref() {
                    match new {
                        Some(v) => drop(state.insert(key(k), v.clone())),
                        None => drop(state.remove(&key(k))),
                    }
                    None
                } else {
                    Some((Outcome::Conflict, k))
                }
            }
            OwnedOp::Incr(k, by) => {
                let current = state.get(&key(k)).map_or(Some(0), |v| decode_int(v));
                match current.and_then(|c| c.checked_add(*by)) {
                    Some(sum) => {
                        number = Some(sum);
                        state.insert(key(k), encode_int(sum).into());
                        None
                    }
                    None => Some((Outcome::NotCounter, k)),
                }
            }
        };
        if let Some((outcome, k)) = failed {
            return (outcome, None, k.clone());
        }
    }
    (Outcome::Ok, number, Bytes::default())
}

/// A batch whose answer is awaited.
#[derive(Debug)]
pub struct Awaited {
    expect: Outcome,
    number: Option<i64>,
    /// How many states must be durable when it is answered.
    needs: usize,
}

/// A store on a simulated disk beside its model.
pub struct World {
    pub rng: Rng,
    pub disk: SimDisk,
    pub config: Config,
    pub store: Option<Arc<Store>>,
    /// `states[0]`: what was durable at the start of this life. `states[i]`: after the i-th batch that changed something.
    pub states: Vec<State>,
    /// For every key the index of the last state that touched it.
    touched: BTreeMap<(u32, Bytes), usize>,
    /// Acknowledged: `states[acknowledged]` or a later one must survive.
    pub acknowledged: usize,
    awaited: BTreeMap<u64, Awaited>,
    token: u64,
    pub job: Option<CommitJob>,
    value_counter: u64,
    /// All values have this length, and batches one operation.
    pub uniform: Option<usize>,
    pub unsynced: bool,
    pub cuts: u64,
}

pub type Check = Result<(), String>;

impl World {
    pub fn new(seed: u64, planted: Planted) -> Self {
        let mut rng = Rng::new(seed);
        let mut config = Config::new("/sim", CORES);
        config.segment_bytes = 16 * 1024;
        config.reserve_segments = usize::from(rng.one_in(2));
        // The model knows the order of submission only.
        config.busy_at_once = true;
        config.planted = planted;
        let uniform = rng.one_in(4).then(|| 400 + 8 * rng.below(80) as usize);
        Self {
            disk: SimDisk::new(rng.next_u64()),
            rng,
            config,
            store: None,
            states: vec![State::new()],
            touched: BTreeMap::new(),
            acknowledged: 0,
            awaited: BTreeMap::new(),
            token: 0,
            job: None,
            value_counter: 0,
            uniform,
            unsynced: false,
            cuts: 0,
        }
    }

    pub fn open(&mut self) -> Result<(), Error> {
        let medium = Arc::new(self.disk.clone());
        self.store = Some(Store::open_on(self.config.clone(), medium, Arc::new(NoWake))?);
        Ok(())
    }

    fn key(&mut self) -> Bytes {
        match self.rng.below(10) {
            0 => b"a key that is too long to be kept inline in the index"[..].into(),
            n => [b'k', b'0' + n as u8].into(),
        }
    }

    fn value(&mut self) -> Bytes {
        self.value_counter += 1;
        let len = match self.uniform {
            Some(len) => len,
            None => match self.rng.below(6) {
                0 => return encode_int(self.rng.below(1000) as i64).into(),
                1 => 0,
                2 => 1500,
                3 => 600,
                _ => 8 + self.rng.below(64) as usize,
            },
        };
        let mut value = self.value_counter.to_le_bytes().to_vec();
        value.resize(len, b'v');
        value.into()
    }

    fn op(&mut self, tenant: u32) -> OwnedOp {
        let key = self.key();
        if self.uniform.is_some() {
            let value = self.value();
            return OwnedOp::Set(b"k1"[..].into(), value);
        }
        match self.rng.below(10) {
            0..4 => OwnedOp::Set(key, self.value()),
            4 => OwnedOp::Del(key),
            5 => OwnedOp::Snx(key, self.value()),
            6 => OwnedOp::Incr(key, self.rng.below(100) as i64 - 50),
            _ => {
                let current = self.states[self.states.len() - 1].get(&(tenant, key.clone())).cloned();
                let expected = if self.rng.one_in(4) { Some(self.value()) } else { current };
                let new = if self.rng.one_in(4) { None } else { Some(self.value()) };
                OwnedOp::Cas(key, expected, new)
            }
        }
    }

    pub fn random_batch(&mut self) -> (u32, Vec<OwnedOp>) {
        let tenant = if self.uniform.is_some() { 0 } else { self.rng.below(2) as u32 };
        let count = if self.uniform.is_some() || self.rng.one_in(2) { 1 } else { 2 + self.rng.below(4) };
        (tenant, (0..count).map(|_| self.op(tenant)).collect())
    }

    /// Submits a random batch to the store and to the model.
    pub fn submit(&mut self) -> Check {
        let (tenant, ops) = self.random_batch();
        let sync = !self.unsynced || self.rng.one_in(2);
        let core = CoreId(self.rng.below(u64::from(CORES)) as u16);
        self.token += 1;
        let token = self.token;
        let borrowed: Vec<Op<'_>> = ops.iter().map(OwnedOp::borrow).collect();
        let Some(store) = self.store.clone() else { return Ok(()) };
        self.drain()?;
        store.submit(core, token, NOW, TenantId(tenant), &borrowed, sync).map_err(|e| e.to_string())?;
        let mut answers = Vec::new();
        store.completions(core, &mut answers);
        if let Some(Completion { outcome: Outcome::Unavailable(_), .. }) =
            answers.iter().find(|a| a.token == token)
        {
            return Ok(());
        }
        let mut next = self.states[self.states.len() - 1].clone();
        let (expect, number, culprit) = model(&mut next, tenant, &ops);
        let mut needs = 0;
        if expect == Outcome::Ok {
            if next != self.states[self.states.len() - 1] || !matches!(ops[..], [OwnedOp::Del(_)]) {
                self.states.push(next);
                for op in &ops {
                    self.touched.insert((tenant, op.borrow().key().into()), self.states.len() - 1);
                }
            }
            if sync {
                needs = self.states.len() - 1;
                if let [OwnedOp::Del(key)] = &ops[..] {
                    // Of a key that is absent: waits for nothing but the removal before it.
                    needs = self.touched.get(&(tenant, key.clone())).copied().unwrap_or(0);
                }
            }
        } else {
            needs = self.touched.get(&(tenant, culprit)).copied().unwrap_or(0);
        }
        self.awaited.insert(token, Awaited { expect, number, needs });
        self.judge(answers)
    }

    /// Takes all answers and compares them with what the model expects.
    pub fn drain(&mut self) -> Check {
        let Some(store) = self.store.clone() else { return Ok(()) };
        let mut answers = Vec::new();
        for core in 0..CORES {
            store.completions(CoreId(core), &mut answers);
        }
        self.judge(answers)
    }

    fn judge(&mut self, answers: Vec<Completion>) -> Check {
        for answer in answers {
            let awaited = self.awaited.remove(&answer.token).ok_or(format!("answered twice: {answer:?}"))?;
            match answer.outcome {
                Outcome::Unknown | Outcome::Unavailable(Unavailable::Poisoned) => {}
                outcome => {
                    if outcome != awaited.expect || answer.number != awaited.number {
                        return Err(format!("{answer:?}, but the model says {awaited:?}"));
                    }
                    self.acknowledged = self.acknowledged.max(awaited.needs);
                }
            }
        }
        Ok(())
    }

    /// The poisoned store opens its folder again in place: a life ends and the next begins.
    pub fn heal(&mut self) -> Check {
        let store = self.store.clone().ok_or("closed")?;
        if store.heal().is_err() {
            return Ok(());
        }
        if store.unavailable() == Some(Unavailable::Poisoned) {
            return Err("healed, and poisoned".to_owned());
        }
        let found = self.check_prefix()?;
        self.states = vec![self.states.swap_remove(found)];
        self.acknowledged = 0;
        self.touched.clear();
        Ok(())
    }

    pub fn awaited(&self) -> usize {
        self.awaited.len()
    }

    pub fn show(&self) -> Result<State, String> {
        let store = self.store.as_ref().ok_or("closed")?;
        let mut state = State::new();
        for tenant in 0..2 {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page =
                    store.scan(NOW, TenantId(tenant), b"", after.as_deref(), 4).map_err(|e| e.to_string())?;
                for item in &page.items {
                    let got = store.get(NOW, TenantId(tenant), item.key()).map_err(|e| e.to_string())?;
                    if got.as_deref() != Some(&item.value[..]) {
                        return Err(format!(
                            "scan and get differ at {:?}",
                            item.key().escape_ascii().to_string()
                        ));
                    }
                    state.insert((tenant, item.key().into()), item.value[..].into());
                }
                after = page.items.last().map(|i| i.key().to_vec());
                if !page.more {
                    break;
                }
            }
        }
        Ok(state)
    }

    /// What the store shows is what some number of batches, at least the acknowledged ones, left behind. That number.
    pub fn check_prefix(&self) -> Result<usize, String> {
        let shown = self.show()?;
        (self.acknowledged..self.states.len()).rev().find(|&n| self.states[n] == shown).ok_or_else(|| {
            let earlier = (0..self.acknowledged).rev().find(|&n| self.states[n] == shown);
            format!(
                "the store shows no state that it may: acknowledged {} of {}, {}",
                self.acknowledged,
                self.states.len() - 1,
                match earlier {
                    Some(n) => format!("but it shows {n}: acknowledged writes are lost"),
                    None => "and it shows none of them: a batch is torn, or something came back".to_owned(),
                }
            )
        })
    }

    /// One life: random steps until the disk dies or `steps` are over.
    pub fn live(&mut self, steps: u64) -> Check {
        for _ in 0..steps {
            if self.disk.is_dead() {
                break;
            }
            let Some(store) = self.store.clone() else { break };
            match self.rng.below(10) {
                0..6 => self.submit()?,
                6 => {
                    if self.job.is_none() {
                        self.job = store.poll_commit(CoreId(self.rng.below(u64::from(CORES)) as u16));
                    }
                }
                7 | 8 => {
                    if self.job.is_none() {
                        self.job = store.poll_commit(CoreId(0));
                    }
                    if let Some(job) = self.job.take() {
                        job.run();
                    }
                }
                _ => {
                    self.drain()?;
                    if self.rng.one_in(3) {
                        // Compaction waits for the write in flight.
                        if let Some(job) = self.job.take() {
                            job.run();
                        }
                        // Fails when the disk dies under it.
                        let _ = store.maintain(NOW);
                    } else if !self.unsynced && !self.disk.is_dead() {
                        self.check_prefix()?;
                    }
                }
            }
        }
        self.drain()
    }

    /// The process ends here, by a power cut or a kill; the next life begins, maybe after failing to.
    pub fn die_and_recover(&mut self) -> Check {
        self.drain()?;
        self.awaited.clear();
        let kill = !self.disk.is_dead() && self.rng.one_in(3);
        self.store = None;
        if let Some(job) = self.job.take()
            && kill
            && self.rng.one_in(2)
        {
            // The kernel has taken the write, and nobody waits any more for it to be on disk.
            let _ = job.file.write_at(job.offset, &job.bytes, false);
        }
        self.disk = if kill { self.disk.kill() } else { self.disk.power_cycle() };
        self.cuts += 1;
        loop {
            if self.rng.one_in(3) {
                self.disk.cut_after(self.rng.below(8));
            }
            match self.open() {
                Ok(()) => break,
                Err(_) if self.disk.is_dead() => {
                    self.cuts += 1;
                    self.disk = self.disk.power_cycle();
                }
                Err(e) => return Err(format!("the store doesn't open: {e}")),
            }
        }
        let found = self.check_prefix()?;
        self.states = vec![self.states.swap_remove(found)];
        self.acknowledged = 0;
        self.touched.clear();
        Ok(())
    }
}

/// Several lives of one disk. How many cuts there were.
pub fn lives(seed: u64, planted: Planted, count: u64) -> Result<u64, String> {
    let mut world = World::new(seed, planted);
    world.open().map_err(|e| e.to_string())?;
    for _ in 0..count {
        world.unsynced = world.rng.one_in(3);
        if !world.rng.one_in(4) {
            let operations = world.rng.below(16);
            world.disk.cut_after(operations);
        }
        let steps = 1 + world.rng.below(60);
        world.live(steps)?;
        world.die_and_recover()?;
    }
    Ok(world.cuts)
}
