use super::{Case, Check, Expected, Judge};
pub fn legacy_pair(_: &Case, judge: Judge) -> Vec<Check> {
    vec![judge.ask("x", Expected::Either, || Ok::<(), String>(()))]
}
pub fn layout(_: &Case, judge: Judge) -> Vec<Check> {
    vec![judge.ask("x", Expected::Either, || Ok::<(), String>(()))]
}
pub fn registry(_: &Case, judge: Judge) -> Vec<Check> {
    vec![judge.ask("x", Expected::Either, || Ok::<(), String>(()))]
}
