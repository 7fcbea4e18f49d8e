//! The scenario runner: plays a call from a file and measures whether every promise held.
//!
//! [`mod@file`] is the scenario, [`run`] plays it, [`book`] takes down what the participants see:
//! [`ledger`] what became of every frame, [`timeline`] what happened when, [`audit`] the keys that
//! everybody had. [`report`] adds it up and judges.

pub mod audit;
pub mod book;
pub mod file;
pub mod ledger;
pub mod participant;
pub mod progress;
pub mod report;
pub mod run;
pub mod table;
pub mod timeline;
pub mod usage;
