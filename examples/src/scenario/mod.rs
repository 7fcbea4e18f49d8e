//! The scenario runner: plays a call from a file and measures whether every promise held.

pub mod file;
pub mod ledger;
pub mod report;
pub mod table;
pub mod timeline;
pub mod usage;
