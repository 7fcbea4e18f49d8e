//! What a hostile member, participant or stranger asks of the delivery service: refused by its name, counted,
//! with the state as it was.

mod attachments;
mod floods;
mod refusals;
