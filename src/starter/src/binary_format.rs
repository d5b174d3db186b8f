//! What the first bytes of a file say about how the kernel would start it: only enough of it to explain to
//! people why it did not.
//!
//! Invariant: any bytes are read without a panic; what does not add up is [`Format::Other`] or `None`.

/// How many bytes of a file [`examine`] wants. The kernel itself reads 256 of a script.
pub(crate) const HEAD: usize = 4096;

/// Kind of an executable file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// It has no bytes.
    Empty,
    /// It begins with `#!` and this interpreter, without its argument.
    Script(String),
    /// A program in ELF.
    Elf {
        /// Name of its processor, as `uname -m` gives it.
        machine: String,
        /// Its dynamic loader, `None` for a static one.
        loader: Option<String>,
    },
    /// Neither.
    Other,
}

/// Reads the first bytes of a file.
pub(crate) fn examine(head: &[u8]) -> Format {
    if head.is_empty() {
        Format::Empty
    } else if let Some(rest) = head.strip_prefix(b"#!") {
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        // Blanks and tabs end the interpreter's name, a carriage return does not: it is part of it.
        let mut words =
            line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        Format::Script(String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned())
    } else {
        elf(head).unwrap_or(Format::Other)
    }
}

/// Offsets are those of `elf(5)`, for 32 and 64 bits.
fn elf(head: &[u8]) -> Option<Format> {
    head.strip_prefix(b"\x7fELF")?;
    let wide = *head.get(4)? == 2;
    let little = *head.get(5)? == 1;
    let number = |offset: usize, length: usize| number(head, offset, length, little);
    let machine = machine(number(18, 2)?, wide, little);
    let (table, size, count) = if wide {
        (number(32, 8)?, number(54, 2)?, number(56, 2)?)
    } else {
        (number(28, 4)?, number(42, 2)?, number(44, 2)?)
    };
    let loader = (0..count).find_map(|index| {
        const PT_INTERP: usize = 3;
        let entry = table.checked_add(index.checked_mul(size)?)?;
        if number(entry, 4)? != PT_INTERP {
            return None;
        }
        let (offset, length) = if wide {
            (number(entry.checked_add(8)?, 8)?, number(entry.checked_add(32)?, 8)?)
        } else {
            (number(entry.checked_add(4)?, 4)?, number(entry.checked_add(16)?, 4)?)
        };
        let name = head.get(offset..offset.checked_add(length)?)?;
        Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
    });
    Some(Format::Elf { machine, loader })
}

fn number(bytes: &[u8], offset: usize, length: usize, little: bool) -> Option<usize> {
    let field = bytes.get(offset..offset.checked_add(length)?)?;
    let join = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
    Some(if little { field.iter().rev().fold(0, join) } else { field.iter().fold(0, join) })
}

/// The processors that Linux clusters are made of.
fn machine(number: usize, wide: bool, little: bool) -> String {
    match (number, wide, little) {
        (3, ..) => "i686",
        (40, ..) => "arm",
        (62, ..) => "x86_64",
        (183, ..) => "aarch64",
        (243, true, _) => "riscv64",
        (21, _, true) => "ppc64le",
        (21, _, false) => "ppc64",
        (22, true, _) => "s390x",
        (258, ..) => "loongarch64",
        _ => return format!("processor number {number}"),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(interpreter: &str) -> Format {
        Format::Script(interpreter.to_owned())
    }

    #[test]
    fn scripts_name_their_interpreter() {
        assert_eq!(examine(b"#!/bin/sh\necho"), script("/bin/sh"));
        assert_eq!(examine(b"#! /usr/bin/env -S python3\n"), script("/usr/bin/env"));
        assert_eq!(examine(b"#!/bin/bash\r\necho"), script("/bin/bash\r"));
        assert_eq!(examine(b"#!"), script(""));
    }

    #[test]
    fn this_program_is_recognised() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let Format::Elf { machine, .. } = examine(&bytes[..HEAD]) else { panic!("not ELF") };
        assert_eq!(machine, std::env::consts::ARCH);
    }

    /// A 64-bit little-endian head with one program header right behind it and the loader's name at 120.
    fn elf64(machine: u8, loader: &str) -> Vec<u8> {
        let mut head = vec![0; 120];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = machine;
        (head[32], head[54], head[56]) = (64, 56, 1);
        head[64] = 3;
        (head[72], head[96]) = (120, u8::try_from(loader.len() + 1).unwrap());
        head.extend(loader.as_bytes());
        head.push(0);
        head
    }

    #[test]
    fn the_processor_and_the_loader_are_named() {
        let loader = "/lib64/ld-linux-x86-64.so.2";
        let expected = Format::Elf { machine: "aarch64".into(), loader: Some(loader.into()) };
        assert_eq!(examine(&elf64(183, loader)), expected);
    }

    #[test]
    fn a_head_cut_anywhere_is_read() {
        let head = elf64(62, "/lib/ld.so");
        for end in 0..head.len() {
            examine(&head[..end]);
        }
        let mut wild = head;
        wild[32..64].fill(0xff);
        examine(&wild);
        assert_eq!(examine(b""), Format::Empty);
        assert_eq!(examine(b"echo hello\n"), Format::Other);
    }
}
