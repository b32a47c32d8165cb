//! PyTorch archives, written by hand: a zip archive of stored entries, and pickles of a few instructions.

/// A zip archive in the making.
#[derive(Clone, Default)]
pub(super) struct Archive {
    entries: Vec<(String, Vec<u8>, Method)>,
    /// Whether sizes are written as zip64 has them, in extra fields.
    pub(super) zip64: bool,
}

/// How an entry claims to be stored. The bytes are written as they are.
#[derive(Clone, Copy)]
pub(super) enum Method {
    Stored,
    Deflated,
}

impl Archive {
    /// An archive with a pickle, its byte order and storages, as `torch.save` lays them out.
    pub(super) fn torch(pickle: &[u8], storages: &[(&str, Vec<u8>)]) -> Self {
        let mut archive = Self::default();
        archive.add("net/data.pkl", pickle.to_vec()).add("net/byteorder", b"little".to_vec());
        for (key, bytes) in storages {
            archive.add(&format!("net/data/{key}"), bytes.clone());
        }
        archive
    }

    pub(super) fn add(&mut self, name: &str, bytes: Vec<u8>) -> &mut Self {
        self.add_as(name, bytes, Method::Stored)
    }

    pub(super) fn add_as(&mut self, name: &str, bytes: Vec<u8>, method: Method) -> &mut Self {
        self.entries.push((name.to_owned(), bytes, method));
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut directory = Vec::new();
        for (name, bytes, method) in &self.entries {
            let method: u16 = match method {
                Method::Stored => 0,
                Method::Deflated => 8,
            };
            let size = bytes.len() as u32;
            let start = out.len() as u32;
            let (claimed, extra) = if self.zip64 {
                let size = u64::from(size).to_le_bytes();
                (u32::MAX, [&[1, 0, 16, 0], &size[..], &size[..]].concat())
            } else {
                (size, Vec::new())
            };
            let mut common = Vec::new();
            put(&mut common, &[20, 0, method, 0, 33]);
            common.extend(crc32(bytes).to_le_bytes());
            common.extend(claimed.to_le_bytes());
            common.extend(claimed.to_le_bytes());
            put(&mut common, &[name.len() as u16, extra.len() as u16]);

            out.extend(b"PK\x03\x04");
            out.extend(&common);
            out.extend(name.bytes());
            out.extend(&extra);
            out.extend(bytes);

            directory.extend(b"PK\x01\x02\x14\0");
            directory.extend(&common);
            put(&mut directory, &[0, 0, 0, 0, 0]);
            directory.extend(start.to_le_bytes());
            directory.extend(name.bytes());
            directory.extend(&extra);
        }
        let (start, entries) = (out.len() as u32, self.entries.len() as u16);
        out.extend(&directory);
        out.extend(b"PK\x05\x06");
        put(&mut out, &[0, 0, entries, entries]);
        out.extend((directory.len() as u32).to_le_bytes());
        out.extend(start.to_le_bytes());
        put(&mut out, &[0]);
        out
    }
}

fn put(out: &mut Vec<u8>, words: &[u16]) {
    out.extend(words.iter().flat_map(|w| w.to_le_bytes()));
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// A view of a storage, as a pickle describes it.
#[derive(Clone)]
pub(super) struct View<'a> {
    pub(super) storage: &'a str,
    pub(super) key: &'a str,
    pub(super) elements: i64,
    pub(super) offset: i64,
    pub(super) shape: &'a [i64],
    pub(super) strides: &'a [i64],
}

/// A pickle in the making.
#[derive(Clone)]
pub(super) struct Pickle(pub(super) Vec<u8>);

impl Pickle {
    /// A pickle of protocol 2.
    pub(super) fn new() -> Self {
        Self(b"\x80\x02".to_vec())
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    pub(super) fn int(self, value: i64) -> Self {
        match i32::try_from(value) {
            Ok(value) => self.raw(b"J").raw(&value.to_le_bytes()),
            Err(_) => self.raw(b"\x8a\x08").raw(&value.to_le_bytes()),
        }
    }

    fn ints(self, values: &[i64]) -> Self {
        values.iter().fold(self.raw(b"("), |pickle, &value| pickle.int(value)).raw(b"t")
    }

    /// `torch._utils._rebuild_tensor_v2` of a view.
    pub(super) fn tensor(self, view: &View<'_>) -> Self {
        self.raw(b"ctorch._utils\n_rebuild_tensor_v2\n((")
            .text("storage")
            .raw(format!("ctorch\n{}\n", view.storage).as_bytes())
            .text(view.key)
            .text("cpu")
            .int(view.elements)
            .raw(b"tQ")
            .int(view.offset)
            .ints(view.shape)
            .ints(view.strides)
            .raw(b"\x89ccollections\nOrderedDict\n)RtR")
    }

    /// A dict of views.
    pub(super) fn state(self, tensors: &[(&str, View<'_>)]) -> Self {
        tensors.iter().fold(self.raw(b"}("), |pickle, (name, view)| pickle.text(name).tensor(view)).raw(b"u")
    }

    pub(super) fn end(self) -> Vec<u8> {
        self.raw(b".").0
    }
}
