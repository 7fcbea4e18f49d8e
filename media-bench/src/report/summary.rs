//! What the terminal shows.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use super::{Document, names};

/// The peers that the terminal has room for. The page has all.
const SHOWN: [&str; 5] = [
    "vs_mls_rs_awslc",
    "vs_mls_rs_rustcrypto",
    "vs_openmls",
    "vs_sframe_best",
    "vs_signature_checks",
];

/// The ratios as a table: a line for each subject and operation, a column for each peer.
#[must_use]
pub fn summary(document: &Document) -> String {
    let About { about, load } = About::of(document);
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let measured =
        |peer: &&str| document.ratios.keys().any(|name| name.ends_with(&format!("/{peer}")));
    let peers: Vec<&str> = SHOWN.into_iter().filter(measured).collect();
    let header = ["times faster than"].into_iter().chain(peers.iter().copied());
    table.set_header(header.map(|peer| peer.trim_start_matches("vs_")));
    let mut places: Vec<&str> = document
        .ratios
        .keys()
        .filter_map(|name| name.rsplit_once('/'))
        .filter(|(_, peer)| peers.contains(peer))
        .map(|(place, _)| place)
        .collect();
    places.sort_by_key(|place| names::order(place));
    places.dedup();
    for place in places {
        let figures = peers.iter().map(|peer| {
            let ratio = document.ratios.get(&format!("{place}/{peer}"));
            ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default()
        });
        table.add_row([place.to_owned()].into_iter().chain(figures));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{about}\n{table}\n{load}")
}

struct About {
    about: String,
    load: String,
}

impl About {
    fn of(document: &Document) -> Self {
        let about = &document.about;
        let short = if about.quick { ", short run: rough figures" } else { "" };
        Self {
            about: format!("{}, {} threads, {}{short}", about.cpu, about.threads, about.date),
            load: format!(
                "{:.0} s; load {:.1} at the beginning, {:.1} at the end",
                about.seconds, about.load, about.load_at_end
            ),
        }
    }
}
