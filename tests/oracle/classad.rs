//! Random ads and expressions of the `ClassAd` language, the same from the same seed.
//!
//! Most are sensible, so that evaluation gets deep; some have wrong types or counts of arguments,
//! and a few are broken texts. What depends on the moment or on chance is left out.

#[path = "classad/words.rs"]
mod words;

use words::{
    ARGUMENTS, ATTRIBUTES, BINARY, COMPARISONS, ENVIRONMENTS, ESCAPED, FORMATS, FUNCTIONS,
    INTEGERS, LISTS, NAMES, OPTIONS, PATTERNS, REALS, STRINGS, VERSIONS,
};

/// Where random numbers come from (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 8).expect("56 bits") % limit
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// How texts are made.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Style {
    /// Strings as in job ads.
    pub(crate) old: bool,
    /// Only what can stand in an ad without end: no `eval()`, which begins anew in its ad.
    pub(crate) simple: bool,
}

pub(crate) struct Generator<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) style: Style,
}

/// An ad of up to nine attributes; they may read each other, and themselves.
pub(crate) fn ad(random: &mut Random) -> String {
    let mut attributes = Vec::new();
    for name in ATTRIBUTES {
        if random.percent(85) {
            let style = Style { old: false, simple: true };
            let depth = random.below(3);
            let mut generator = Generator { random, style };
            let value = match name {
                // A list that contains itself is where we part.
                "Items" => generator.list(depth).replace("Items", "Text").replace("ITEMS", "Text"),
                "Nested" => generator.nested(),
                "Text" => generator.argument('t', 0),
                "JobStatus" => generator.argument('i', 0),
                _ => generator.expr(depth),
            };
            attributes.push(format!("{name} = {value}"));
        }
    }
    let style = Style { old: false, simple: true };
    let mut generator = Generator { random, style };
    let ads: Vec<String> = (0..3).map(|_| generator.nested()).collect();
    attributes.push(format!("Ads = {{ {} }}", ads.join(", ")));
    format!("[{}]", attributes.join("; "))
}

fn string(text: &str) -> String {
    format!("\"{text}\"")
}

impl Generator<'_> {
    fn text(&mut self) -> String {
        let text = if !self.style.old && self.random.percent(15) {
            self.random.of(&ESCAPED)
        } else {
            self.random.of(&STRINGS)
        };
        string(text)
    }

    fn pick(&mut self, texts: &[&str]) -> String {
        let text = self.random.of(texts);
        string(text)
    }

    fn literal(&mut self) -> String {
        match self.random.below(14) {
            0..=4 => self.random.of(&INTEGERS).to_owned(),
            5 | 6 => self.random.of(&REALS).to_owned(),
            7 | 8 => self.text(),
            9 | 10 => self.random.of(&["true", "false", "TRUE", "False"]).to_owned(),
            11 => "undefined".to_owned(),
            12 => self.random.of(&["error", "undefined"]).to_owned(),
            _ => self.time(),
        }
    }

    fn time(&mut self) -> String {
        let times = [
            "relTime(5)",
            "relTime(100000)",
            "relTime(-61)",
            "relTime(1.5)",
            "absTime(1000)",
            "absTime(86399,3600)",
            "absTime(1700000000,-5400)",
            "relTime(\"1+02:03:04\")",
            "absTime(\"2020-02-29T12:34:56+01:00\")",
            "relTime(0)",
            "absTime(\"2021-03-04\")",
        ];
        self.random.of(&times).to_owned()
    }

    fn reference(&mut self) -> String {
        let name = self.random.of(&NAMES);
        match self.random.below(20) {
            0 => format!("MY.{name}"),
            1 => format!(".{name}"),
            2 => format!("Nested.{}", self.random.of(&["x", "Y", "z", "A", "Missing"])),
            3 => format!("Items[{}]", self.random.below(4)),
            4 => format!("Ads.{}", self.random.of(&["x", "y", "z"])),
            5 => format!("TARGET.{name}"),
            6 => format!("{name}.{}", self.random.of(&NAMES)),
            _ => name.to_owned(),
        }
    }

    /// `[x = …; y = …; z = …]`
    fn nested(&mut self) -> String {
        let mut attributes = Vec::new();
        for name in ["x", "y", "z"] {
            if self.random.percent(80) {
                let value = if self.random.percent(60) { self.literal() } else { self.expr(1) };
                attributes.push(format!("{name} = {value}"));
            }
        }
        format!("[{}]", attributes.join("; "))
    }

    fn list(&mut self, depth: usize) -> String {
        let items: Vec<String> =
            (0..self.random.below(4)).map(|_| self.expr(depth.saturating_sub(1))).collect();
        format!("{{{}}}", items.join(", "))
    }

    fn of_kind(&mut self, kind: char) -> String {
        let items: Vec<String> =
            (0..self.random.below(4)).map(|_| self.argument(kind, 0)).collect();
        format!("{{ {} }}", items.join(","))
    }

    /// An argument of a kind, most often.
    fn argument(&mut self, kind: char, depth: usize) -> String {
        if depth > 0 && self.random.percent(12) {
            return self.expr(depth - 1);
        }
        if self.random.percent(4) {
            return self
                .random
                .of(&["undefined", "error", "Missing", "{}", "1", "\"x\""])
                .to_owned();
        }
        match kind {
            'n' if self.random.percent(50) => self.random.of(&REALS).to_owned(),
            'i' | 'n' => self.random.of(&INTEGERS).to_owned(),
            't' => self.text(),
            'b' => {
                let (left, right) = (self.argument('n', 0), self.argument('n', 0));
                format!("{left} {} {right}", self.random.of(&["<", "==", ">="]))
            }
            'l' | 'm' | 'k' if self.random.percent(15) => "Items".to_owned(),
            'l' => self.list(depth),
            'm' => self.of_kind('t'),
            'k' => self.of_kind('n'),
            'L' if self.random.percent(50) => "Ads".to_owned(),
            'L' => format!("{{ {}, {} }}", self.nested(), self.nested()),
            'c' => self
                .random
                .of(&["x", "y", "z", "x == y", "x > 1", "JobStatus", "x ?: y"])
                .to_owned(),
            's' => self.pick(&LISTS),
            'p' => self.pick(&PATTERNS),
            'o' => self.pick(&OPTIONS),
            'v' => self.pick(&VERSIONS),
            'e' => self.pick(&ENVIRONMENTS),
            'g' => {
                let text = self.random.of(&ARGUMENTS).replace('\t', " ");
                string(&text)
            }
            'f' => self.pick(&FORMATS),
            'w' => self.pick(&COMPARISONS),
            'R' if self.style.old => self.pick(&["z", "", "<>", r"[\1]", r"\0\0"]),
            'R' => self.pick(&["z", "", "<>", r"[\\1]", r"\\0\\0", r"\\"]),
            'r' => self.random.of(&["A", "Text", "jobstatus", "Missing", "Nested.x"]).to_owned(),
            'T' => self.time(),
            _ => self.expr(depth.saturating_sub(1)),
        }
    }

    fn call(&mut self, depth: usize) -> String {
        let functions: Vec<&str> = FUNCTIONS.split(',').map(str::trim).collect();
        let function = self.random.of(&functions);
        let (name, kinds) = function.split_once(' ').expect("a name and its arguments");
        if self.style.simple
            && matches!(name, "eval" | "unparse" | "evalInEachContext" | "countMatches")
        {
            return self.reference();
        }
        let (needed, optional) = kinds.split_once('?').unwrap_or((kinds, ""));
        let extra = if optional.is_empty() { 0 } else { self.random.below(optional.len() + 1) };
        let mut arguments: Vec<String> = Vec::new();
        for kind in needed.chars().chain(optional.chars().take(extra)) {
            arguments.push(self.argument(kind, depth));
        }
        // Without arguments it is the present moment.
        let present = matches!(name, "absTime" | "formatTime");
        if self.random.percent(2) && !present {
            arguments.pop();
        } else if self.random.percent(2) {
            arguments.push(self.expr(0));
        }
        if self.style.simple && matches!(name, "relTime" | "absTime") {
            // A text that is no time makes the whole ad unreadable.
            arguments.retain(|argument| !argument.starts_with('"'));
            arguments.extend(arguments.is_empty().then(|| "7".to_owned()));
        }
        let name = match self.random.below(12) {
            0 => name.to_ascii_lowercase(),
            1 => name.to_ascii_uppercase(),
            _ => name.to_owned(),
        };
        let space = self.random.of(&["", "", " "]);
        format!("{name}{space}({})", arguments.join(self.random.of(&[",", ", ", " , "])))
    }

    /// What `?:` and `[ ]` take.
    fn operand(&mut self, depth: usize) -> String {
        match self.random.below(6) {
            0 => format!("({})", self.expr(depth)),
            1 => self.call(depth),
            2 => self.literal(),
            3 => self.list(depth),
            _ => self.reference(),
        }
    }

    /// An expression; the deeper, the longer.
    pub(crate) fn expr(&mut self, depth: usize) -> String {
        if depth == 0 {
            return if self.random.percent(60) { self.literal() } else { self.reference() };
        }
        let depth = depth - 1;
        let space = self.random.of(&[" ", " ", "", "  "]);
        match self.random.below(22) {
            0..=6 => {
                let operator = self.random.of(&BINARY);
                let space = if operator.starts_with('i') { " " } else { space };
                // A sign would stick to a minus, and a comment begin.
                let right = self.expr(depth);
                format!("{}{space}{operator}{space}{right}", self.expr(depth))
            }
            7 => format!(
                "{}{}",
                self.random.of(&["!", "-", "+", "~", "- ", "!!"]),
                self.operand(depth)
            ),
            8 | 9 => format!("({})", self.expr(depth)),
            10 => format!("{} ? {} : {}", self.expr(depth), self.expr(depth), self.expr(depth)),
            11 => format!("{}{space}?:{space}{}", self.operand(depth), self.operand(depth)),
            12 => format!("{}[{}]", self.operand(depth), self.expr(depth)),
            13 => self.list(depth),
            14 if self.style.simple => self.reference(),
            14 => format!("Nested[{}]", self.pick(&["x", "Y", "z", "q"])),
            15 => format!("{}.x", self.nested()),
            16 => self.reference(),
            _ => self.call(depth),
        }
    }

    /// The text with one character gone, doubled, or put in.
    pub(crate) fn broken(&mut self, text: &str) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        let at = self.random.below(chars.len());
        if "[]".contains(chars[at]) {
            // Another ad than the one around the expression would end.
            return text.to_owned();
        }
        match self.random.below(3) {
            0 => {
                chars.remove(at);
            }
            1 => chars.insert(at, chars[at]),
            _ => {
                let all: Vec<char> = "+-*/%&|^<>=!~?:.,(){}\"' aX09_".chars().collect();
                chars.insert(at, self.random.of(&all));
            }
        }
        let broken: String = chars.into_iter().collect();
        // A comment would hide the end of the ad around the expression.
        if broken.contains("//") { text.to_owned() } else { broken }
    }
}
