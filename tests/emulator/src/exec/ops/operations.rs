//! Operations that compute each lane's result by itself, from one function on values.

/// Defines operations: `Name, map2, function;` is a type `Name<T>` whose execution maps the function over the lanes. The
/// bound on `T` comes first.
macro_rules! operations {
    ($bound:path: $($(#[$doc:meta])* $name:ident, $map:ident, $function:expr;)*) => {$(
        $(#[$doc])*
        struct $name<T>(::std::marker::PhantomData<T>);
        impl<T: $bound> $crate::exec::instruction::Op for $name<T> {
            #[inline(always)]
            fn run(
                cx: &mut $crate::exec::context::Context<'_>,
                inst: &$crate::exec::instruction::Inst,
            ) -> $crate::exec::instruction::Step {
                $map(cx, inst, $function)
            }
        }
    )*};
}

pub(super) use operations;
