//! The documents of the language: the reference, and the schema for editors.

use super::*;

fn own(form: &fields::Form) -> BTreeSet<&'static str> {
    names(form.fields)
}

fn names(fields: &[Field]) -> BTreeSet<&'static str> {
    fields.iter().map(|f| f.name).collect()
}

fn required(fields: &[Field]) -> BTreeSet<&'static str> {
    fields.iter().filter(|f| f.required).map(|f| f.name).collect()
}

#[test]
fn the_reference_s_first_example_is_a_network() {
    let reference = repository("specs/README.md");
    let example = reference.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let checked = whole(example);
    let network = checked.network();
    let shapes: Vec<String> = network.layers.iter().map(|l| network.value(l.output).shape.to_string()).collect();
    let expected: Vec<&str> =
        ["[32, 32, 32]"; 3].into_iter().chain(["[64, 16, 16]"; 6]).chain(["[64]", "[10]"]).collect();
    assert_eq!(shapes, expected);
    // 32 -> 64 and 64 -> 64 channels in cells of 32 x 16: 9 * 2 * 2 and 9 * 2 * 4 mixtures, half as many cells.
    let cells = &checked.partition().warehouses[0];
    assert_eq!((cells.cells, cells.cell_out, cells.cell_in), (54, 32, 16));
}

#[test]
fn the_reference_names_everything() {
    let reference = repository("specs/README.md");
    let items = fields::ITEMS.iter().flat_map(|f| own(f).into_iter().chain([f.name]));
    let tables = [fields::FILE, fields::INPUT, fields::IMAGE, fields::WAREHOUSES, fields::SETTINGS, fields::BLOCK];
    let keys = tables.iter().flat_map(|t| names(t)).chain(names(fields::COMMON)).chain(items);
    let missing: Vec<&str> =
        keys.filter(|k| !reference.contains(&format!("`{k}`")) && !reference.contains(&format!("{k}:"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Property names and required ones of an object in the schema.
fn object(schema: &serde_json::Value) -> (BTreeSet<&str>, BTreeSet<&str>) {
    assert_eq!(schema["additionalProperties"], false, "{schema}");
    let properties = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let required = schema.get("required").and_then(|r| r.as_array()).into_iter().flatten();
    (properties, required.map(|r| r.as_str().unwrap()).collect())
}

#[test]
fn the_schema_knows_what_the_reader_knows() {
    let schema: serde_json::Value = serde_json::from_str(&repository("specs/schema.json")).unwrap();
    let definitions = &schema["$defs"];
    // Variants leave out what they don't change, so the schema can't ask for all that a whole spec needs.
    assert_eq!(object(&schema), (names(fields::FILE), ["kwc", "name"].into()));
    let both: Vec<Field> = [fields::WAREHOUSES, fields::SETTINGS].concat();
    for (name, table) in [
        ("input", fields::INPUT.to_vec()),
        ("image", fields::IMAGE.to_vec()),
        ("settings", fields::SETTINGS.to_vec()),
        ("warehouses", both),
        ("block", fields::BLOCK.to_vec()),
    ] {
        let (properties, needed) = object(&definitions[name]);
        assert_eq!(properties, names(&table), "{name}");
        // The same goes for parts that a variant may change.
        assert!(needed.is_empty(), "{name}");
    }

    let bare: BTreeSet<&str> =
        definitions["bare_item"]["enum"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    let properties = definitions["item"]["properties"].as_object().unwrap();
    let known: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    assert_eq!(known, fields::ITEMS.iter().map(|f| f.name).collect());
    for form in fields::ITEMS {
        let joins = matches!(form.name, "add" | "concat");
        let (own_properties, needed) = object(&properties[form.name]);
        let mut expected = names(form.fields);
        expected.extend(names(fields::COMMON));
        assert_eq!(own_properties, expected, "{}", form.name);
        let mut expected = required(form.fields);
        expected.extend(joins.then_some("from"));
        assert_eq!(needed, expected, "{}", form.name);
        assert_eq!(bare.contains(form.name), expected.is_empty() && !needs_name(form.name), "{}", form.name);
    }
}

/// Whether an item without fields would have parameters without a name.
fn needs_name(item: &str) -> bool {
    matches!(item, "batch_norm" | "layer_norm")
}

#[test]
fn every_item_of_the_tables_is_read() {
    for form in fields::ITEMS {
        let text = format!("{HEAD}layers:\n  - {}: {{ bogus: 1 }}\n", form.name);
        let failure = pipeline::front("a", &Memory::default().with("a", text), &[]).unwrap_err();
        let printed = failure.diagnostics.render(&failure.sources, false);
        assert!(printed.contains(&format!("`{}` has no field `bogus`", form.name)), "{printed}");
        for field in own(form) {
            assert!(printed.contains(&format!("`{field}`")), "{field}: {printed}");
        }
    }
}
