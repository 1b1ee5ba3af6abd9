package cli

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"hangbench/bench/exit"
)

// plainSuite is the suite that breakSuites changes.
const plainSuite = `name: t
scenarios: [control-idle]
mechanisms: [none]
guests:
  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160}
repetitions: 1
`

// breakSuites gives "check" suites that are wrong in some way, or odd and right.
func breakSuites(t *testing.T, all *attempts) {
	edit := func(old, to string) string {
		if !strings.Contains(plainSuite, old) {
			t.Fatalf("the plain suite has no %q", old)
		}
		return strings.Replace(plainSuite, old, to, 1)
	}
	plus := func(more string) string { return plainSuite + more }
	reps := func(value string) string { return edit("repetitions: 1", "repetitions: "+value) }
	name := func(value string) string { return edit("name: t", "name: "+value) }
	for _, tc := range []struct {
		id, text string
		status   int
		says     string
	}{
		{"ok", plainSuite, 0, "1 scenarios x 1 mechanisms"},
		{"anchor", "a: &a [control-idle]\n" + edit("[control-idle]", "*a"), 2, "t.yaml:3: scenarios is an alias (*a)"},
		{"anchor2", edit("[control-idle]", "&a [control-idle]"), 0, "control-idle"},
		{"big", plainSuite + strings.Repeat("# a comment\n", 80_000), 0, "1 trials"},
		{"biglist", edit("[control-idle]", "\n"+strings.Repeat("  - nope\n", 100_000)), 2,
			"99980 more mistakes are not told"},
		{"bigval", plus("description: " + strings.Repeat("a", 500_000) + "\n"), 0, "1 trials"},
		{"binary", plus("description: \xff\xfe\n"), 2, "t.yaml:7: not valid YAML: it is not UTF-8 text"},
		{"blank", " \n\n  \n", 2, "t.yaml:1: the file is empty"},
		{"bom", "\ufeff" + plainSuite, 0, "1 trials"},
		{"bom16", inUTF16(plainSuite), 0, "1 trials"},
		{"bomb", bomb(plainSuite, "*i"), 2, `the suite has no key "d"`},
		{"bomb2", bomb("", "*i") + plainSuite, 2, `the suite has no key "d"`},
		{"comment", "# nothing\n", 2, "t.yaml:1: the file is empty"},
		{"complexkey", plus("? [a, b]\n: c\n"), 2, "t.yaml:7: the suite has a list as a key"},
		{"conflict", plus("bounded_ms: [500]\n"), 2, `t.yaml:7: bounded_ms cannot undo scenario "control-idle"`},
		{"cr", strings.ReplaceAll(plainSuite, "\n", "\r"), 0, "1 trials"},
		{"crlf", strings.ReplaceAll(plainSuite, "\n", "\r\n"), 0, "1 trials"},
		{"deep", plus("description: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "\n"), 2,
			"t.yaml:7: description is a list"},
		{"deep2", plus("description: " + strings.Repeat("[", 20_000) + "\n"), 2, "not valid YAML: exceeded max depth"},
		{"deepmap", strings.Repeat("{a: ", 2000), 2, "not valid YAML"},
		{"descesc", plus(`description: "a\e[31mb"` + "\n"), 2, "t.yaml:7: description is"},
		{"descrlo", plus("description: a\u202eb\n"), 2, "t.yaml:7: description is"},
		{"driversnull", plus("drivers:\n"), 2, "t.yaml:7: drivers is empty"},
		{"dupguest", edit("repetitions", "  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160}\nrepetitions"), 2,
			"t.yaml:6: the same guest stands in line 5"},
		{"dupkey", plus("repetitions: 2\n"), 2, `t.yaml:7: key "repetitions" stands in line 6 already`},
		{"dupscen", edit("[control-idle]", "[control-idle, control-idle]"), 2,
			`t.yaml:2: scenario "control-idle" stands in line 2 already`},
		{"empty", "", 2, "t.yaml:1: the file is empty"},
		{"emptylist", edit("[control-idle]", "[]"), 2, "t.yaml:2: scenarios is an empty list"},
		{"intkey", plus("1: 2\n"), 2, `t.yaml:7: the suite has no key "1"`},
		{"json", `{"name":"t","scenarios":["control-idle"],"mechanisms":["none"],"guests":[{"kernel":"cloud-6.12",` +
			`"vcpus":1,"memory_mib":160}],"repetitions":1}`, 0, "1 trials"},
		{"latin1", plus("description: caf\xe9 au lait\n"), 2, "t.yaml:7: not valid YAML: it is not UTF-8 text"},
		{"list", "- a\n- b\n", 2, "t.yaml:1: the suite is a list"},
		{"mem1", edit("160", "1"), 2, "t.yaml:5: memory_mib is 1, out of range: use 128 to 4096"},
		{"mem1t", edit("160", "1000000"), 2, "t.yaml:5: memory_mib is 1000000, out of range"},
		{"merge", "<<: {name: x}\n" + plainSuite, 2, `t.yaml:1: the suite has no key "<<"`},
		{"mergeanchor", "a: &a {vcpus: 1}\n" + edit("vcpus: 1", "<<: *a"), 2, "t.yaml:6: a guest has no vcpus"},
		{"mergeguest", edit("vcpus: 1", "<<: {vcpus: 1}"), 2, `t.yaml:5: a guest has no key "<<"`},
		{"misspelt", edit("repetitions", "repititions"), 2,
			`t.yaml:6: the suite has no key "repititions" (did you mean "repetitions"?)`},
		{"misspelt2", edit("memory_mib", "memory"), 2, `t.yaml:5: a guest has no key "memory" (did you mean "memory_mib"?)`},
		{"name300", name(strings.Repeat("a", 300)), 2, "has 300 characters: use at most 100"},
		{"namelong", name(strings.Repeat("a", 5000)), 2, "has 5000 characters: use at most 100"},
		{"namedash", name("-rf"), 2, `t.yaml:1: name "-rf": use lower-case letters`},
		{"namedate", name("2024-01-01"), 2, `t.yaml:1: name is "2024-01-01"`},
		{"namehtml", name("<script>alert(1)</script>"), 2, `t.yaml:1: name "<script>alert(1)</script>"`},
		{"namenl", name(`"a\nb"`), 2, `t.yaml:1: name "a\nb"`},
		{"nameno", name("no"), 0, "no: "},
		{"namenull", name(""), 2, "t.yaml:1: name is empty"},
		{"namenum", name("123"), 2, "t.yaml:1: name is the number 123"},
		{"namepath", name("../../x"), 2, `t.yaml:1: name "../../x"`},
		{"nameuni", name("ünïcode"), 2, `t.yaml:1: name "ünïcode"`},
		{"nul", plus("description: a\x00b\n"), 2, "t.yaml:7: not valid YAML: it has the control character U+0000"},
		{"null", "null\n", 2, "t.yaml:1: the suite is empty"},
		{"observe", plus("timing: {observe_ms: 1000, baseline_ms: 2000}\n"), 2,
			"t.yaml:7: observe_ms 1000 is shorter than baseline_ms 2000"},
		{"prog", edit("160", "256, programs: evil"), 2, `t.yaml:5: programs "evil" is unknown`},
		{"reps0", reps("0"), 2, "t.yaml:6: repetitions is 0, out of range: use 1 to 1000"},
		{"reps1e3", reps("1e3"), 2, "t.yaml:6: repetitions is the number 1e3"},
		{"reps1e9", reps("99999999999999999999999"), 2, "t.yaml:6: repetitions is"},
		{"repsbool", reps("yes"), 2, `t.yaml:6: repetitions is the text "yes"`},
		{"repsfloat", reps("1.0"), 2, "t.yaml:6: repetitions is the number 1.0"},
		{"repshex", reps("0x10"), 2, "t.yaml:6: repetitions is the number 0x10"},
		{"repshuge", reps("1000000000"), 2, "t.yaml:6: repetitions is 1000000000, out of range"},
		{"repsinf", reps(".inf"), 2, "t.yaml:6: repetitions is the number .inf"},
		{"repsnan", reps(".nan"), 2, "t.yaml:6: repetitions is the number .nan"},
		{"repsneg", reps("-1"), 2, "t.yaml:6: repetitions is -1, out of range"},
		{"repsnull", reps(""), 2, "t.yaml:6: repetitions is empty"},
		{"repso8", reps("0o10"), 2, "t.yaml:6: repetitions is the number 0o10"},
		{"repsoct", reps("010"), 2, "t.yaml:6: repetitions is the number 010"},
		{"repsplus", reps("+1"), 0, "1 trials"},
		{"repssex", reps("1:30"), 2, `t.yaml:6: repetitions is the text "1:30"`},
		{"repstag", reps("!!int 1"), 0, "1 trials"},
		{"repsus", reps("1_000"), 2, "t.yaml:6: repetitions is the number 1_000"},
		{"sample", plus("timing: {sample_ms: 0}\n"), 2, "t.yaml:7: sample_ms is 0, out of range: use 1 to 1000"},
		{"samplebig", plus("timing: {sample_ms: 10000}\n"), 2, "t.yaml:7: sample_ms is 10000, out of range"},
		{"scalar", "hello\n", 2, `t.yaml:1: the suite is the text "hello"`},
		{"selfref", "a: &a [*a]\n", 2, `t.yaml:1: the suite has no key "a"`},
		{"superp", edit("160", "160, superpages: maybe"), 2, `t.yaml:5: superpages is the text "maybe": write true or false`},
		{"sweep1", plus("sweep:\n  - {threshold: spin_ms, values: [5]}\n"), 2, "the sweep of spin_ms has one value"},
		{"tabs", edit("  - {", "\t- {"), 2, "t.yaml:5: not valid YAML: the line begins with a tab: indent with blanks"},
		{"tagx", edit("[control-idle]", "!x [control-idle]"), 2, "t.yaml:2: scenarios has the tag !x"},
		{"thresh", plus("thresholds: {nope: 1}\n"), 2, `t.yaml:7: thresholds has no key "nope"`},
		{"threshneg", plus("thresholds: {spin_ms: -1}\n"), 2, "t.yaml:7: spin_ms is -1, out of range: use 1 to 600000"},
		{"tilde", "~\n", 2, "t.yaml:1: the suite is empty"},
		{"trailing", plus("]\n"), 2, "t.yaml:7: not valid YAML: did not find expected key"},
		{"twodocs", plus("---\nname: u\n"), 2, "t.yaml:7: a second document begins here"},
		{"unclosed", edit("[control-idle]", "'control-idle"), 2, "t.yaml:2: not valid YAML: found unexpected end of stream"},
		{"undef", plus("drivers: *zz\n"), 2, "t.yaml:7: not valid YAML: unknown anchor 'zz'"},
		{"unkmech", edit("[none]", "[nnoe]"), 2, `t.yaml:3: mechanism "nnoe" is unknown (did you mean "none"?)`},
		{"unkscen", edit("control-idle", "control-idel"), 2,
			`t.yaml:2: scenario "control-idel" is unknown (did you mean "control-idle"?)`},
		{"vcpus0", edit("vcpus: 1", "vcpus: 0"), 2, "t.yaml:5: vcpus is 0, out of range: use 1 to 8"},
		{"vcpus99", edit("vcpus: 1", "vcpus: 99"), 2, "t.yaml:5: vcpus is 99, out of range: use 1 to 8"},
		{"wrongtype", edit("[control-idle]", "control-idle"), 2,
			`t.yaml:2: scenarios is the text "control-idle": write a list`},
		{"wrongtype2", edit("vcpus: 1", `vcpus: "1"`), 2,
			`t.yaml:5: vcpus is the text "1": write a whole number from 1 to 8`},
		{"wrongtype3", edit("vcpus: 1", "vcpus: [1]"), 2, "t.yaml:5: vcpus is a list: write a whole number"},
		{"wrongtype4", edit("  - {", "  {"), 2, "guests is a mapping: write a list"},
		{"xmlish", `<?xml version="1.0"?><suite/>` + "\n", 2, "t.yaml:1: the suite is the text"},
	} {
		t.Run(tc.id, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "t.yaml")
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			e := attempt(t, "check", path)
			err := e.check([]int{tc.status}, []string{tc.says})
			if e.status == exit.Usage && strings.Count(e.stderr, "\n") > 25 {
				t.Errorf("it says too much: %.500s", e.stderr)
			}
			all.note("y_"+tc.id, err)
		})
	}
}

// inUTF16 is a text in UTF-16 with a byte order mark.
func inUTF16(text string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// bomb is a suite with nine anchors, each of which names the one before nine times.
func bomb(before, use string) string {
	text := before + "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'i'; c++ {
		one := "*" + string(c-1)
		text += string(c) + ": &" + string(c) + " [" + strings.Repeat(one+", ", 8) + one + "]\n"
	}
	return text + "j: " + use + "\n"
}
