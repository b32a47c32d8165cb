//! Numbers, conditions and what they come to.

use super::*;

/// Channels of a convolution whose `out` is the expression.
fn evaluate(expression: &str) -> usize {
    let params = "params:\n  five: 5\n  half: 1/2\n  yes: true\n  kind: basic\n  list: [4, 5, 6]\n  rows: [[1], [2, 3]]\n  text_five: '5'\n";
    let text = format!("{params}layers:\n  - conv: {{ name: c, out: \"{expression}\", kernel: 1 }}\n");
    convolution(&network(&text), "c").out_channels
}

#[test]
fn compute_exactly() {
    for (expression, expected) in [
        ("7", 7),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("20 - 3 - 4", 13),
        ("64 / 4 / 2", 8),
        ("1/3 + 2/3", 1),
        ("0.1 * 30", 3),
        ("1e2 / 2.5e1", 4),
        ("7 // 2", 3),
        ("10 + -7 // 2", 6),
        ("7 % 3", 1),
        ("-7 % 3", 2),
        ("2 * 7 % 5", 4),
        ("- -3", 3),
        ("8*half", 4),
        ("$half * 8", 4),
        ("${five + 1} * 2", 12),
        ("min(3, 4) + max(3, 4)", 7),
        ("len($list)", 3),
        ("$list[1]", 5),
        ("$list[len(list) - 1]", 6),
        ("$rows[1][0]", 2),
        ("text_five + 1", 6),
    ] {
        assert_eq!(evaluate(expression), expected, "{expression}");
    }
}

#[test]
fn decide() {
    for (condition, expected) in [
        ("true", 1),
        ("!true", 2),
        ("$yes", 1),
        ("3 < 4", 1),
        ("4 <= 4 && 4 >= 4", 1),
        ("4 < 4 || 4 > 4", 2),
        ("1/2 == 0.5", 1),
        ("$half != 2/4", 2),
        ("$kind == 'basic'", 1),
        ("$kind != 'basic' || false", 2),
        ("$yes == true", 1),
        ("$text_five == 5", 1),
        ("1 + 1 == 2 && 2 * 2 == 4", 1),
        ("!(1 == 2)", 1),
        ("true || 1 / 0 == 1", 1),
        ("false && $list[9] == 1", 2),
        ("(1 < 2) == (2 < 3)", 1),
    ] {
        assert_eq!(evaluate(&format!("{condition} ? 1 : 2")), expected, "{condition}");
    }
    assert_eq!(evaluate("false ? 1 : true ? 2 : 3"), 2);
    assert_eq!(evaluate("$list[0] == 4 ? 8 : $list[7]"), 8);
}

#[test]
fn a_parameter_may_use_those_before_it() {
    let checked = network(
        "params: { width: 8, wide: $width * 3, name: \"w$width\" }\nlayers:\n  - conv: { name: $name, out: $wide, kernel: 1 }\n",
    );
    assert_eq!((output(&checked).as_str(), paths(&checked)), ("[24, 12, 10]", vec!["w8"]));
}

#[test]
fn a_ratio_is_the_nearest_number_of_its_kind() {
    for (written, expected) in
        [("0.025", 0.025), ("1/16", 0.0625), ("1/3", 1.0 / 3.0), ("2.5e-2", 0.025), ("$third * 3 / 40", 0.025)]
    {
        let text = format!(
            "params: {{ third: 1/3 }}\nwarehouses: {{ reduction: \"{written}\" }}\nlayers:\n  - conv: {{ name: c, out: 6, kernel: 1, warehouse: w }}\n"
        );
        let reduction = network(&text).network().warehouses[0].settings.reduction;
        assert_eq!(reduction.to_bits(), f64::to_bits(expected), "{written}");
    }
}
