//! A network as text, one line a layer, for looking at what a spec became.

use std::fmt::{self, Display};

use super::{LayerId, Network, ValueId};

/// Displays a network.
#[derive(Debug, Clone, Copy)]
pub struct Dump<'a>(pub &'a Network);

impl Display for Dump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = self.0;
        let shape = |id: ValueId| format!("{id} {}", network.value(id).shape);
        writeln!(f, "network {}", network.name)?;
        for port in &network.inputs {
            writeln!(f, "  input {} = {}", port.name, shape(port.value))?;
        }
        for (index, warehouse) in network.warehouses.iter().enumerate() {
            writeln!(f, "  warehouse w{index} {}", warehouse.name)?;
        }
        for (id, layer) in network.layers() {
            let inputs: Vec<String> = layer.inputs.iter().map(ToString::to_string).collect();
            let (output, path) = (shape(layer.output), &layer.path);
            let path = if path.is_empty() { "-" } else { path };
            writeln!(f, "  {id} {path}: {output} = ({}) {:?}", inputs.join(", "), layer.op)?;
        }
        let order: Vec<String> = network.registration.iter().map(LayerId::to_string).collect();
        writeln!(f, "  registered {}", order.join(" "))?;
        for port in &network.outputs {
            writeln!(f, "  output {} = {}", port.name, shape(port.value))?;
        }
        Ok(())
    }
}
