//! The small images that tests and examples run as jobs. Invariant: they come from Debian's
//! `busybox-static` and from this file alone, so a machine without access to any image registry has them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, ensure};
use oci_client::config::{Architecture, Config, Os};

use super::{
    binaries, elf,
    layer::{Layer, Tree},
    oci::{self, Image},
};

/// The tag of the busybox image: the version in Debian 12. Manifests and tests name it; a newer Debian's build goes by it as well.
const BUSYBOX_TAG: &str = "1.35";

/// What Docker sets where an image says nothing else.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All of them.
pub(super) fn all() -> anyhow::Result<Vec<Image>> {
    let mut images = vec![busybox()?, oddities()?];
    images.extend(own_commands(&busybox_layer()?)?);
    Ok(images)
}

/// A shell and the common commands, as `busybox:1.35` on Docker Hub has them.
pub(super) fn busybox() -> anyhow::Result<Image> {
    Image::new("busybox", BUSYBOX_TAG, vec![busybox_layer()?], shell(), BTreeMap::new())
}

/// Busybox and files that cannot be started, each for a reason of its own.
pub(super) fn oddities() -> anyhow::Result<Image> {
    let odd = Tree::default()
        .file("/bin/wrong", 0o755, elf::arm64_program())
        .file("/bin/noshebang", 0o755, "echo this is a script without a first line\n")
        .file("/bin/nointerpreter", 0o755, "#!/no/such/interpreter\necho never\n")
        .file("/etc/motd", 0o644, "not a program\n")
        .layer()?;
    Image::new("oddities", "1", vec![busybox_layer()?, odd], shell(), BTreeMap::new())
}

/// Like the image on Docker Hub: no user, no entrypoint, a shell as the command.
fn shell() -> Config {
    Config {
        env: Some(vec![PATH.to_owned()]),
        cmd: Some(vec!["sh".to_owned()]),
        ..Config::default()
    }
}

/// Busybox, and what it runs by itself, in each form that an image can say it.
fn own_commands(busybox: &Layer) -> anyhow::Result<Vec<Image>> {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    let image = |name: &str, config: Config| {
        let env = Some(vec![PATH.to_owned()]);
        let config = Config { env, ..config };
        Image::new(name, "1", vec![busybox.clone()], config, BTreeMap::new())
    };
    let both = Config {
        entrypoint: words(&["/bin/echo", "from both:"]),
        cmd: words(&["default words"]),
        ..Config::default()
    };
    let entrypoint = words(&["/bin/echo", "from entrypoint"]);
    let working_dir = Some("/srv".to_owned());
    let user = Some("12345".to_owned());
    let cmd = words(&["/bin/echo", "from cmd"]);
    Ok(vec![
        image("entrypoint", Config { entrypoint, ..Config::default() })?,
        image("command", Config { cmd, ..Config::default() })?,
        image("both", both.clone())?,
        image("neither", Config::default())?,
        image("user", Config { user, cmd: words(&["id", "-u"]), ..Config::default() })?,
        image("workdir", Config { working_dir, cmd: words(&["pwd"]), ..Config::default() })?,
        many(busybox, image("both", both)?)?,
    ])
}

/// An index as a build for several platforms makes it: the first entry is for another platform, the second is no image at
/// all but a statement about the third, and that one is ours.
fn many(busybox: &Layer, ours: Image) -> anyhow::Result<Image> {
    let part = |platform, layers, config| {
        Image::of_platform("many", "1", platform, layers, config, BTreeMap::new())
    };
    let arm64 = oci::platform(Os::Linux, Architecture::ARM64);
    let entrypoint = ["/bin/echo", "from another architecture"].map(str::to_owned).to_vec();
    let config = Config { entrypoint: Some(entrypoint), ..Config::default() };
    let another = part(&arm64, vec![busybox.clone()], config)?;
    let unknown = || "unknown".to_owned();
    let nowhere = oci::platform(Os::Other(unknown()), Architecture::Other(unknown()));
    let statement = part(&nowhere, Vec::new(), Config::default())?;
    let about = BTreeMap::from([
        ("vnd.docker.reference.digest".to_owned(), ours.manifest.digest.clone()),
        ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
    ]);
    let members = vec![
        (arm64, another, BTreeMap::new()),
        (nowhere, statement, about),
        (oci::amd64(), ours, BTreeMap::new()),
    ];
    Image::index("many", "1", members)
}

fn busybox_layer() -> anyhow::Result<Layer> {
    let path = find_busybox()?;
    let program = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let list = run(Command::new(&path).arg("--list"))?;
    Ok(busybox_tree(program, &String::from_utf8(list.stdout)?).layer()?)
}

fn busybox_tree(program: Vec<u8>, applets: &str) -> Tree {
    let tree = Tree::default()
        .file("/bin/busybox", 0o755, program)
        // The one path outside /bin that scripts rely on.
        .link("/usr/bin/env", "../../bin/busybox")
        .directory("/root", 0o700)
        .directory("/tmp", 0o1777)
        .directory("/var/tmp", 0o1777)
        .file(
            "/etc/passwd",
            0o644,
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        )
        .file("/etc/group", 0o644, "root:x:0:\nnobody:x:65534:\n");
    applets
        .lines()
        .filter(|applet| !applet.is_empty() && *applet != "busybox")
        .fold(tree, |tree, applet| tree.link(&format!("/bin/{applet}"), "busybox"))
}

/// The machine's own static busybox, else Debian's package, unpacked but not installed: Debian's dynamic `busybox` would have to go for it.
fn find_busybox() -> anyhow::Result<PathBuf> {
    let unpacked = binaries::target_directory().join("images/busybox-static");
    let is_static = |path: &PathBuf| {
        fs::read(path).is_ok_and(|program| elf::check_static("busybox", &program).is_ok())
    };
    let find = || {
        let inside = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.join(path));
        [Path::new("/bin/busybox"), Path::new("/usr/bin/busybox")]
            .map(Path::to_owned)
            .into_iter()
            .chain(inside)
            .find(is_static)
    };
    if let Some(path) = find() {
        return Ok(path);
    }
    eprintln!("fetching busybox-static from Debian");
    fetch_busybox(&unpacked)
        .context("there is no static busybox: install it with `apt-get install busybox-static`")?;
    find().context("Debian's busybox-static holds no static busybox for amd64")
}

fn fetch_busybox(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    let download =
        || run(Command::new("apt-get").args(["download", "busybox-static"]).current_dir(directory));
    // A machine that was just set up has no package lists yet.
    download().or_else(|_| run(Command::new("apt-get").arg("update")).and_then(|_| download()))?;
    let package = fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded nothing")?;
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(directory))?;
    fs::remove_file(package)?;
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start \"{program}\""))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "\"{program}\" ended with {}: {}",
        output.status,
        words.trim()
    );
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_image_says_its_command_in_a_form_of_its_own() {
        let busybox = Tree::default().file("/bin/busybox", 0o755, "program").layer().unwrap();
        let images = own_commands(&busybox).unwrap();
        let says = |image: &Image| {
            let config = image.config.as_ref().unwrap();
            let config: serde_json::Value = serde_json::from_slice(&config.content).unwrap();
            (config["config"]["Entrypoint"].clone(), config["config"]["Cmd"].clone())
        };
        let none = serde_json::Value::Null;
        let expected = [
            ("entrypoint", json!(["/bin/echo", "from entrypoint"]), none.clone()),
            ("command", none.clone(), json!(["/bin/echo", "from cmd"])),
            ("both", json!(["/bin/echo", "from both:"]), json!(["default words"])),
            ("neither", none.clone(), none.clone()),
            ("user", none.clone(), json!(["id", "-u"])),
            ("workdir", none.clone(), json!(["pwd"])),
        ];
        for (image, (name, entrypoint, command)) in images.iter().zip(expected) {
            assert_eq!(image.name, name);
            assert_eq!(says(image), (entrypoint, command), "{name}");
        }
    }

    #[test]
    fn the_index_names_an_image_for_each_platform_and_a_statement() {
        let busybox = Tree::default().file("/bin/busybox", 0o755, "program").layer().unwrap();
        let images = own_commands(&busybox).unwrap();
        let (many, both) = (images.last().unwrap(), &images[2]);
        let index: serde_json::Value = serde_json::from_slice(&many.manifest.content).unwrap();
        let digests: Vec<_> = many.members.iter().map(|part| &part.manifest.digest).collect();
        let platforms = [("arm64", "linux"), ("unknown", "unknown"), ("amd64", "linux")];
        for (number, (architecture, os)) in platforms.into_iter().enumerate() {
            let entry = &index["manifests"][number];
            let platform = json!({ "architecture": architecture, "os": os });
            assert_eq!(
                (&entry["platform"], &entry["digest"]),
                (&platform, &json!(digests[number]))
            );
        }
        assert_eq!(digests[2], &both.manifest.digest);
        let annotations = &index["manifests"][1]["annotations"];
        assert_eq!(annotations["vnd.docker.reference.digest"], json!(digests[2]));
    }

    #[test]
    fn busybox_is_deterministic() {
        let layer = || busybox_tree(b"program".to_vec(), "[\nsh\nbusybox\ncat\n").layer().unwrap();
        let digest = |layer| {
            Image::new("busybox", "1", vec![layer], shell(), BTreeMap::new())
                .unwrap()
                .manifest
                .digest
        };
        assert_eq!(digest(layer()), digest(layer()));
        assert_eq!(
            layer().diff_id,
            "sha256:493c392a214ff251c9ef7c3e51030f93f569cfafec1ae372d8688da6cdd05852"
        );
    }
}
