//! Planning: fold, fuse, order, place: a Program for a target.
