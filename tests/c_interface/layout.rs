//! Sizes and offsets of the public structures, as a C compiler sees them and as Rust does.

use std::fmt::Write as _;
use std::mem::offset_of;

use sml::c_interface::*;

use crate::compiler::{Linking, compile, succeed};
use crate::installed::Installed;

/// One line for each number, and the C expression that has it.
struct Layout {
    expressions: String,
    numbers: String,
}

macro_rules! layout {
    ($layout:ident: $($name:ident { $($field:ident),* $(,)? })*) => {$(
        // A field that is not named here does not compile.
        let _: fn($name) = |$name { $($field: _),* }| ();
        $layout.add(&format!("sizeof({})", stringify!($name)), size_of::<$name>());
        $($layout.add(&format!("offsetof({}, {})", stringify!($name), stringify!($field)), offset_of!($name, $field));)*
    )*};
}

impl Layout {
    fn add(&mut self, expression: &str, number: usize) {
        writeln!(self.expressions, "    printf(\"{expression} %lu\\n\", (unsigned long){expression});")
            .unwrap();
        writeln!(self.numbers, "{expression} {number}").unwrap();
    }

    fn of_all() -> Self {
        let mut layout = Self { expressions: String::new(), numbers: String::new() };
        layout! { layout:
            sml_engine_options {
                struct_size, device, batch, classes, logits_height, logits_width, height, width, threads, cuda_graph, reserved,
            }
            sml_stage_timings { struct_size, standardize, suppress, smooth }
            sml_logits { struct_size, data, element_type, layout, batch, classes, height, width, strides }
            sml_output { struct_size, height, width, score_type, reserved, score, prediction, non_finite }
            sml_anomaly_map { struct_size, batch, height, width, score, prediction, non_finite }
            sml_obstacle_options {
                struct_size, height, width, threshold, reserved, minimum_area, drivable_classes, drivable_count,
                drivable_margin,
            }
            sml_obstacle {
                struct_size, id, left, top, width, height, area, mean_score, max_score, centroid_column, centroid_row,
                surrounding_class,
            }
        }
        layout
    }
}

#[test]
fn structures_lie_in_memory_as_c_has_them() {
    let (layout, installed) = (Layout::of_all(), Installed::get());
    for extension in ["c", "cpp"] {
        let source = installed.programs().join(format!("layout.{extension}"));
        let text = format!(
            "#include <sml.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {{\n{}    return 0;\n}}\n",
            layout.expressions
        );
        // The cast of C is what a C++ compiler is asked to warn of.
        let text = if extension == "cpp" { text.replace("(unsigned long)", "0ul + ") } else { text };
        std::fs::write(&source, text).unwrap();
        if let Some(program) = compile(installed, &source, Linking::Shared) {
            assert_eq!(succeed(&mut installed.command(program)), layout.numbers, "{extension}");
        }
    }
}
