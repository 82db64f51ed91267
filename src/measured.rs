//! The parts of a frame on the CPU: what each takes, and a span for whoever collects them with `tracing`.

/// The span that a frame's parts belong to: the one that the calling thread is in. The parts may run on other threads.
pub(crate) struct Whole {
    /// One that nobody collects costs nothing.
    #[cfg(feature = "frame-loop")]
    pub span: tracing::Span,
}

impl Whole {
    pub fn current() -> Self {
        Self {
            #[cfg(feature = "frame-loop")]
            span: tracing::Span::current(),
        }
    }
}

/// Does `$work` within a span of that name.
macro_rules! spanned {
    ($whole:expr, $name:literal, $work:expr) => {{
        #[cfg(feature = "frame-loop")]
        let _span = tracing::debug_span!(parent: &$whole.span, $name).entered();
        #[cfg(not(feature = "frame-loop"))]
        let _ = &$whole;
        $work
    }};
}
pub(crate) use spanned;

/// Does `$work` within a span of that name, and adds what it took to `$time`.
#[cfg(feature = "torch")]
macro_rules! measured {
    ($whole:expr, $name:literal, $time:expr, $work:expr) => {{
        let start = std::time::Instant::now();
        let done = crate::measured::spanned!($whole, $name, $work);
        $time += start.elapsed();
        done
    }};
}
#[cfg(feature = "torch")]
pub(crate) use measured;
