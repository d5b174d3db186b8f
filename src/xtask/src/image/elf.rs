//! What an image needs to know of a program before it carries it. Invariant: a program that passes
//! runs in an empty file system, because it names no loader.

use anyhow::{Context as _, ensure};
use elf::{ElfBytes, abi, endian::AnyEndian};

/// Fails unless this is an amd64 program that needs no loader and no library (a static PIE is one).
pub(super) fn check_static(name: &str, program: &[u8]) -> anyhow::Result<()> {
    let elf = ElfBytes::<AnyEndian>::minimal_parse(program)
        .with_context(|| format!("\"{name}\" is not an ELF program"))?;
    ensure!(
        elf.ehdr.e_machine == abi::EM_X86_64,
        "\"{name}\" is for ELF machine {}, not for amd64",
        elf.ehdr.e_machine
    );
    let segments = elf.segments().with_context(|| format!("\"{name}\" has no program headers"))?;
    ensure!(
        segments.iter().all(|segment| segment.p_type != abi::PT_INTERP),
        "\"{name}\" is linked dynamically, but its image holds no loader: build it with RUSTFLAGS='-C target-feature=+crt-static' and an explicit --target"
    );
    Ok(())
}

/// The beginning of an arm64 program: no amd64 kernel starts it ("Exec format error").
pub(super) fn arm64_program() -> Vec<u8> {
    let mut header = vec![0_u8; 64];
    header[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0"); // 64 bits, little-endian, version 1, System V
    let mut put = |at: usize, value: u16| header[at..at + 2].copy_from_slice(&value.to_le_bytes());
    put(16, abi::ET_EXEC);
    put(18, abi::EM_AARCH64);
    put(20, 1); // version
    put(52, 64); // size of this header
    put(54, 56); // size of a program header, of which there is none
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of an amd64 program with one program header of this type.
    fn program(segment: u32) -> Vec<u8> {
        let mut program = arm64_program();
        program[18] = u8::try_from(abi::EM_X86_64).unwrap();
        program[32] = 64; // the program headers follow the header
        program[56] = 1; // and there is one
        program.extend(segment.to_le_bytes());
        program.resize(64 + 56, 0);
        program
    }

    #[test]
    fn a_program_without_a_loader_passes() {
        check_static("it", &program(abi::PT_LOAD)).unwrap();
    }

    #[test]
    fn others_are_refused_with_the_reason() {
        let refusal = |program: &[u8]| format!("{:#}", check_static("it", program).unwrap_err());
        assert!(refusal(&program(abi::PT_INTERP)).starts_with("\"it\" is linked dynamically"));
        assert!(refusal(&arm64_program()).contains("machine 183, not for amd64"));
        assert!(refusal(b"#!/bin/sh").starts_with("\"it\" is not an ELF program"));
    }

    #[test]
    fn a_program_of_this_machine_is_dynamic() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        check_static("this test", &own).unwrap_err();
    }
}
