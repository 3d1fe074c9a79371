//! The judge of histories says what an exhaustive search says that knows nothing of revisions' meaning: on small histories,
//! right and wrong ones.

use crate::conformance::history::{Answered, Asked, Called, History, Recorder, Tick};
use crate::conformance::linearizability::check;
use crate::conformance::model::Model;
use crate::{Compare, Entropy, KeyRange, Op, Range, Txn};

/// Calls in a history: the search tries every order of them.
const CALLS: usize = 6;

fn empty() -> History {
    Recorder::of(1, Vec::new(), 0).lock().clone()
}

fn ask(chance: &Entropy, number: usize) -> Asked {
    let key = || format!("{}", chance.below(2));
    let put = Op::put(key(), format!("{number}"));
    match chance.below(8) {
        0..3 => Asked::Txn(Txn::new().then(put)),
        3 => Asked::Txn(Txn::new().then(Op::delete(key()))),
        4 => Asked::Txn(Txn::new().when(Compare::version(key(), chance.below(2))).then(put).otherwise(Op::get("0"))),
        5 => Asked::Range(Range::key(key())),
        _ => Asked::Range(Range::new(KeyRange::all())),
    }
}

/// What one store that does one call at a time answers.
fn answer(model: &mut Model, asked: &Asked) -> Answered {
    match asked {
        Asked::Txn(txn) => {
            let step = model.txn(txn);
            *model = model.after(&step);
            Answered::Txn(step.response)
        }
        Asked::Range(range) => Answered::Range(model.range(range).expect("the current revision is known")),
        other => unreachable!("{other:?} is not asked here"),
    }
}

/// Up to three calls at a time, each done at some moment while it is under way; some outcomes are unknown, and some of those
/// calls are never done.
fn random(chance: &Entropy) -> History {
    let mut history = empty();
    let mut model = history.base.clone();
    let mut tick: Tick = 0;
    let mut under_way: Vec<(usize, bool)> = Vec::new();
    let mut begun = 0;
    while begun < CALLS || !under_way.is_empty() {
        tick += 1;
        if begun < CALLS && under_way.len() < 3 && (under_way.is_empty() || chance.below(2) == 0) {
            let asked = ask(chance, begun);
            history.calls.push(Called { asked, begun: tick, ended: Tick::MAX, answered: Answered::Unknown, beside: 0 });
            under_way.push((begun, false));
            begun += 1;
            continue;
        }
        let which = chance.below(under_way.len() as u64) as usize;
        let (number, is_done) = under_way[which];
        let call = &mut history.calls[number];
        if is_done {
            // Its answer arrives, or does not.
            call.ended = tick;
            under_way.remove(which);
            if chance.below(5) == 0 {
                (call.ended, call.answered) = (Tick::MAX, Answered::Unknown);
            }
        } else if chance.below(8) == 0 {
            // It never happens, and nobody knows.
            under_way.remove(which);
        } else {
            call.answered = answer(&mut model, &call.asked);
            under_way[which].1 = true;
        }
    }
    history
}

/// Something that may have made it wrong.
fn disturb(history: &mut History, chance: &Entropy) {
    let one = chance.below(CALLS as u64) as usize;
    let other = chance.below(CALLS as u64) as usize;
    match chance.below(6) {
        0 => {
            let answered = history.calls[other].answered.clone();
            let fits = std::mem::discriminant(&history.calls[one].answered) == std::mem::discriminant(&answered);
            if fits {
                history.calls[one].answered = answered;
            }
        }
        1 => match &mut history.calls[one].answered {
            Answered::Txn(done) => done.revision += 1,
            Answered::Range(found) => found.revision += 1,
            _ => {}
        },
        2 => match &mut history.calls[one].answered {
            Answered::Txn(done) => done.revision = done.revision.saturating_sub(1),
            Answered::Range(found) => found.revision = found.revision.saturating_sub(1),
            _ => {}
        },
        3 => {
            // As it would have been answered at first.
            let mut model = history.base.clone();
            if !matches!(history.calls[one].answered, Answered::Unknown) {
                history.calls[one].answered = answer(&mut model, &history.calls[one].asked.clone());
            }
        }
        4 => {
            // It ended when it began: others that overlapped it may come later now.
            let call = &mut history.calls[one];
            if call.ended != Tick::MAX {
                call.ended = call.begun;
            }
        }
        _ => {
            // It is said not to have happened.
            let error = crate::Error::Unavailable { reason: "said so".into() };
            history.calls[one].answered = Answered::Refused(error);
        }
    }
}

/// Wing and Gong: some call that nothing else ended before comes first, and the rest can be ordered behind it.
fn exists_order(calls: &[Called], model: &Model, left: &[usize]) -> bool {
    let needed = |number: &usize| matches!(calls[*number].answered, Answered::Txn(_) | Answered::Range(_));
    if !left.iter().any(needed) {
        return true;
    }
    left.iter().any(|number| {
        let call = &calls[*number];
        if matches!(call.answered, Answered::Refused(_)) {
            return false;
        }
        let is_first = left.iter().filter(|other| needed(other)).all(|other| calls[*other].ended >= call.begun);
        let mut after = model.clone();
        let answered = answer(&mut after, &call.asked);
        let fits = match (&answered, &call.answered) {
            (_, Answered::Unknown) => true,
            (Answered::Txn(expected), Answered::Txn(found)) => expected == found,
            (Answered::Range(expected), Answered::Range(found)) => expected == found,
            _ => false,
        };
        let rest: Vec<usize> = left.iter().copied().filter(|other| other != number).collect();
        is_first && fits && exists_order(calls, &after, &rest)
    })
}

#[test]
fn the_judge_agrees_with_an_exhaustive_search() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..20_000 {
        let chance = Entropy::seeded(seed);
        let mut history = random(&chance);
        for _ in 0..chance.below(3) {
            disturb(&mut history, &chance);
        }
        let all: Vec<usize> = (0..CALLS).collect();
        let expected = exists_order(&history.calls, &history.base, &all);
        let found = check(&history);
        assert_eq!(found.is_ok(), expected, "seed {seed}: {found:?}\n{:#?}", history.calls);
        if expected { right += 1 } else { wrong += 1 }
    }
    println!("{right} right and {wrong} wrong histories");
    assert!(right > 5000 && wrong > 5000, "{right} right and {wrong} wrong histories");
}

#[test]
fn undisturbed_histories_are_right() {
    for seed in 0..5000 {
        let history = random(&Entropy::seeded(seed));
        check(&history).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    }
}
