//! The scenario file: who takes part, and what happens when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

/// The most participants of a scenario; each is a thread with a peer connection of its own.
pub const MAX_PARTICIPANTS: usize = 200;

/// The longest scenario.
pub const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

/// A scenario whose rules have been checked: every step makes sense when its turn comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name, for the report.
    pub name: String,
    /// What it shows, in a sentence.
    pub description: String,
    /// When the call is over. Whoever is still there then hangs up.
    pub duration: Duration,
    /// How long the delivery service waits for a participant that lost its connection.
    pub grace: Duration,
    /// What is measured against; beyond it the run fails.
    pub limits: Limits,
    /// The cast.
    pub participants: Vec<ParticipantSpec>,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
}

/// Bounds that the scenario sets on measured times. None set: none checked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The longest time from a leave until the last remaining sender switched, in milliseconds.
    pub switch_ms: Option<f64>,
    /// The longest time from a join request until the first opened video frame, in milliseconds.
    pub join_to_first_frame_ms: Option<f64>,
    /// The largest share of frames that may be lost in transport.
    pub lost_share: Option<f64>,
}

/// Somebody who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParticipantSpec {
    /// The name, which is its identity too.
    pub name: String,
    /// Whether it may remove others.
    #[serde(default)]
    pub moderator: bool,
    /// Whether it sends the clip's picture.
    #[serde(default = "yes")]
    pub video: bool,
    /// Whether it sends the clip's sound.
    #[serde(default = "yes")]
    pub audio: bool,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When, from the start.
    pub at: Duration,
    /// What.
    pub action: Action,
    /// To whom: all of them in the same moment. Never empty.
    pub who: Vec<String>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Joins the call, with fresh keys.
    Join,
    /// Says goodbye and leaves.
    Leave,
    /// Falls silent without goodbye, as if its machine had lost power.
    Crash,
    /// Loses its signalling connection and comes back after a while; what it missed it replays from
    /// the log.
    Reconnect {
        /// How long it is away.
        away: Duration,
    },
    /// Is removed by a moderator.
    Remove {
        /// The moderator.
        by: String,
    },
}

/// Why a scenario cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file is not a scenario in TOML.
    #[error("the scenario file is not readable: {0}")]
    Syntax(#[from] toml::de::Error),
    /// The file tells of numbers of members instead of a cast.
    #[error("this scenario is for the simulation: play it with `media-bench simulate`")]
    ForTheSimulation,
    /// The file is well-formed and makes no sense.
    #[error("{place}: {fault}")]
    Rule {
        /// Where.
        place: String,
        /// What is wrong, and what was expected.
        fault: String,
    },
}

impl Scenario {
    /// Reads and checks a scenario.
    ///
    /// # Errors
    ///
    /// [`ScenarioError`] that says in words where the file goes wrong.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let table: toml::Table = toml::from_str(text)?;
        if table.contains_key("members") {
            return Err(ScenarioError::ForTheSimulation);
        }
        let raw: RawScenario = toml::from_str(text)?;
        raw.check()
    }

    /// The participant of this name.
    pub fn participant(&self, name: &str) -> Option<&ParticipantSpec> {
        self.participants.iter().find(|participant| participant.name == name)
    }

    /// How many changes of the group's roster the steps ask for: joins but for the first, which
    /// creates the group, and everything that ends in a removal.
    pub fn roster_changes(&self) -> usize {
        let changes: usize = self
            .steps
            .iter()
            .filter(|step| !matches!(step.action, Action::Reconnect { .. }))
            .map(|step| step.who.len())
            .sum();
        changes.saturating_sub(1)
    }
}

fn yes() -> bool {
    true
}

fn rule(place: impl Into<String>, fault: impl Into<String>) -> ScenarioError {
    ScenarioError::Rule { place: place.into(), fault: fault.into() }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    name: String,
    #[serde(default)]
    description: String,
    duration: f64,
    #[serde(default = "default_grace")]
    grace: f64,
    #[serde(default)]
    limits: Limits,
    participant: Vec<ParticipantSpec>,
    step: Vec<RawStep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    at: f64,
    action: RawAction,
    who: Vec<String>,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    away: Option<f64>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum RawAction {
    Join,
    Leave,
    Crash,
    Reconnect,
    Remove,
}

fn default_grace() -> f64 {
    2.0
}

fn seconds(value: f64, place: &str) -> Result<Duration, ScenarioError> {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|duration| *duration <= MAX_DURATION)
        .ok_or_else(|| rule(place, format!("expected seconds between 0 and a day, found {value}")))
}

impl RawScenario {
    fn check(self) -> Result<Scenario, ScenarioError> {
        let duration = seconds(self.duration, "duration")?;
        let grace = seconds(self.grace, "grace")?;
        if self.participant.is_empty() || self.participant.len() > MAX_PARTICIPANTS {
            return Err(rule("participant", format!("expected 1 to {MAX_PARTICIPANTS} of them")));
        }
        let mut cast = BTreeMap::new();
        for participant in &self.participant {
            let name = participant.name.as_str();
            let plain = !name.is_empty()
                && name.len() <= 64
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            if !plain {
                let fault = "expected a name of 1 to 64 letters, digits, dots or hyphens";
                return Err(rule(format!("participant {name:?}"), fault));
            }
            if cast.insert(name, participant).is_some() {
                return Err(rule(format!("participant {name}"), "the name is taken"));
            }
        }

        let mut steps = Vec::with_capacity(self.step.len());
        for raw in &self.step {
            steps.push(raw.check(duration)?);
        }
        steps.sort_by_key(|step| step.at);

        let mut present = Presence { cast: &cast, here: BTreeSet::new(), away: BTreeMap::new() };
        for step in &steps {
            present.play(step)?;
        }
        Ok(Scenario {
            name: self.name,
            description: self.description,
            duration,
            grace,
            limits: self.limits,
            participants: self.participant,
            steps,
        })
    }
}

impl RawStep {
    fn check(&self, duration: Duration) -> Result<Step, ScenarioError> {
        let place = format!("step at {}", self.at);
        let at = seconds(self.at, &place)?;
        if at > duration {
            return Err(rule(place, "expected a time before the end of the scenario"));
        }
        if self.who.is_empty() {
            return Err(rule(place, "expected somebody in `who`"));
        }
        let action = match (self.action, &self.by, self.away) {
            (RawAction::Join, None, None) => Action::Join,
            (RawAction::Leave, None, None) => Action::Leave,
            (RawAction::Crash, None, None) => Action::Crash,
            (RawAction::Reconnect, None, Some(away)) => {
                Action::Reconnect { away: seconds(away, &place)? }
            }
            (RawAction::Reconnect, None, None) => {
                return Err(rule(place, "expected `away`, the seconds until it comes back"));
            }
            (RawAction::Remove, Some(by), None) => Action::Remove { by: by.clone() },
            (RawAction::Remove, None, None) => {
                return Err(rule(place, "expected `by`, the moderator who removes"));
            }
            _ => {
                let fault = "`by` belongs to remove only, and `away` to reconnect only";
                return Err(rule(place, fault));
            }
        };
        Ok(Step { at, action, who: self.who.clone() })
    }
}

/// Who is in the call while the steps are checked one after the other.
struct Presence<'a> {
    cast: &'a BTreeMap<&'a str, &'a ParticipantSpec>,
    here: BTreeSet<String>,
    away: BTreeMap<String, Duration>,
}

impl Presence<'_> {
    fn play(&mut self, step: &Step) -> Result<(), ScenarioError> {
        for name in &step.who {
            let place = format!("step at {}, {name}", step.at.as_secs_f64());
            if !self.cast.contains_key(name.as_str()) {
                return Err(rule(place, "expected the name of a participant"));
            }
            if self.away.get(name).is_some_and(|back| *back > step.at) {
                return Err(rule(place, "is not connected at that time"));
            }
            match &step.action {
                Action::Join => {
                    if !self.here.insert(name.clone()) {
                        return Err(rule(place, "joins, but is in the call already"));
                    }
                    continue;
                }
                Action::Remove { by } => {
                    if !self.cast.get(by.as_str()).is_some_and(|by| by.moderator) {
                        return Err(rule(place, "expected a moderator in `by`"));
                    }
                    if !self.here.contains(by) || by == name {
                        let fault = "expected a moderator in the call, and not the one removed";
                        return Err(rule(place, fault));
                    }
                }
                Action::Reconnect { away } => {
                    self.away.insert(name.clone(), step.at + *away);
                }
                Action::Leave | Action::Crash => {}
            }
            let stays = matches!(step.action, Action::Reconnect { .. });
            let was_here = if stays { self.here.contains(name) } else { self.here.remove(name) };
            if !was_here {
                return Err(rule(place, "is not in the call at that time"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAST: &str = r#"
        name = "small"
        duration = 10
        [[participant]]
        name = "alice"
        moderator = true
        [[participant]]
        name = "bob"
        audio = false
    "#;

    fn with(steps: &str) -> Result<Scenario, ScenarioError> {
        Scenario::parse(&format!("{CAST}\n{steps}"))
    }

    fn fault(steps: &str) -> String {
        with(steps).unwrap_err().to_string()
    }

    #[test]
    fn the_scenarios_that_come_with_the_project_are_sound() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/scenarios");
        let (mut played, mut simulated) = (0, 0);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let scenario = match Scenario::parse(&std::fs::read_to_string(&path).unwrap()) {
                Ok(scenario) => scenario,
                Err(ScenarioError::ForTheSimulation) => {
                    simulated += 1;
                    continue;
                }
                Err(error) => panic!("{}: {error}", path.display()),
            };
            played += 1;
            if path.ends_with("default.toml") {
                assert!(scenario.participants.len() >= 6);
                assert!(scenario.roster_changes() >= 12);
                assert!(scenario.duration <= Duration::from_secs(35));
                let has = |wanted: fn(&Action) -> bool| {
                    scenario.steps.iter().any(|step| wanted(&step.action))
                };
                assert!(has(|action| matches!(action, Action::Crash)));
                assert!(has(|action| matches!(action, Action::Reconnect { .. })));
                assert!(has(|action| matches!(action, Action::Remove { .. })));
                assert!(scenario.steps.iter().any(|s| s.action == Action::Join && s.who.len() > 1));
            }
        }
        assert_eq!((played, simulated), (2, 6));
    }

    #[test]
    fn sorts_the_steps_and_fills_in_what_is_left_out() {
        let scenario = with(
            "[[step]]\nat = 5\naction = \"remove\"\nwho = [\"bob\"]\nby = \"alice\"\n\
             [[step]]\nat = 0\naction = \"join\"\nwho = [\"alice\"]\n\
             [[step]]\nat = 1.5\naction = \"join\"\nwho = [\"bob\"]\n\
             [[step]]\nat = 2\naction = \"reconnect\"\nwho = [\"bob\"]\naway = 0.5\n",
        )
        .unwrap();
        let times: Vec<_> = scenario.steps.iter().map(|step| step.at.as_millis()).collect();
        assert_eq!(times, [0, 1500, 2000, 5000]);
        assert_eq!(scenario.roster_changes(), 2);
        assert_eq!(scenario.grace, Duration::from_secs(2));
        let bob = scenario.participant("bob").unwrap();
        assert!(bob.video && !bob.audio && !bob.moderator);
    }

    #[test]
    fn says_what_is_wrong() {
        let step = |text: &str| format!("[[step]]\n{text}\n");
        let join_alice = step("at = 0\naction = \"join\"\nwho = [\"alice\"]");
        for (steps, words) in [
            (step("at = 0\naction = \"sing\"\nwho = [\"alice\"]"), "unknown variant"),
            (step("at = 0\naction = \"join\"\nwho = []"), "expected somebody"),
            (step("at = -1\naction = \"join\"\nwho = [\"alice\"]"), "expected seconds"),
            (step("at = 11\naction = \"join\"\nwho = [\"alice\"]"), "before the end"),
            (step("at = 0\naction = \"join\"\nwho = [\"mallory\"]"), "name of a participant"),
            (step("at = 0\naction = \"leave\"\nwho = [\"alice\"]"), "not in the call"),
            (step("at = 0\naction = \"join\"\nwho = [\"alice\"]\nby = \"bob\""), "`by` belongs"),
            (step("at = 0\naction = \"reconnect\"\nwho = [\"alice\"]"), "expected `away`"),
            (format!("{join_alice}{join_alice}"), "in the call already"),
            (
                format!(
                    "{join_alice}{}",
                    step("at = 1\naction = \"remove\"\nwho = [\"alice\"]\nby = \"bob\"")
                ),
                "expected a moderator in `by`",
            ),
            (
                format!(
                    "{join_alice}{}{}",
                    step("at = 1\naction = \"reconnect\"\nwho = [\"alice\"]\naway = 3"),
                    step("at = 2\naction = \"leave\"\nwho = [\"alice\"]")
                ),
                "not connected",
            ),
        ] {
            let fault = fault(&steps);
            assert!(fault.contains(words), "{fault:?} should say {words:?}");
        }
        assert!(fault("colour = 1").contains("unknown field"));
    }
}
