#![doc = include_str!("../docs/delivery-service.md")]
