package suites

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"hangbench/scenarios"
)

// TestKeys: every key of the reference can be written as its example says, is required
// as it says, and has the range that it says.
func TestKeys(t *testing.T) {
	t.Parallel()
	v := built()
	// whole is a suite with one key of one section as given, and the others minimal.
	whole := func(k Key, value string) string {
		write := func(s Section, skip string, extra string) string {
			var b []string
			for _, k := range keysOf(s) {
				if k.Required && k.Name != skip {
					b = append(b, fmt.Sprintf("%s: %s", k.Name, k.Example))
				}
			}
			if extra != "" {
				b = append(b, extra)
			}
			return strings.Join(b, ", ")
		}
		line := ""
		if value != "" {
			line = k.Name + ": " + value
		}
		if k.Section == Whole {
			return "{" + write(Whole, k.Name, line) + "}"
		}
		inner := "{" + write(k.Section, k.Name, line) + "}"
		parent := map[Section]string{OfGuest: "guests: [%s]", OfTiming: "timing: %s", OfSweep: "sweep: [%s]",
			OfObserver: "observers: [%s]", OfFault: "faults: [%s]", OfCampaign: "campaign: %s"}
		if k.Section == OfFault && !slices.Contains(scenarios.Doings(), k.Name) { // a fault does something
			inner = strings.Replace(inner, "{", "{hold: {spinlock: a}, ", 1)
		}
		parentKey := strings.SplitN(parent[k.Section], ":", 2)[0]
		return "{" + write(Whole, parentKey, fmt.Sprintf(parent[k.Section], inner)) + "}"
	}
	seen := map[string]bool{}
	for _, k := range Keys() {
		name := string(k.Section) + "." + k.Name
		if seen[name] {
			t.Errorf("%s stands there twice", name)
		}
		seen[name] = true
		if k.Meaning == "" || k.Example == "" || k.Type == "" || k.Required == (k.Default != "") {
			t.Errorf("%s: incomplete, or a default of a required key: %+v", name, k)
		}
		example := k.Example
		if k.Section == OfFault || k.Name == "faults" { // a declared fault must be tried
			text := strings.Replace(whole(k, example), "spinlock-deadlock", "inode-hash", 1)
			if slices.Contains([]string{"timer", "crash", "oops"}, k.Name) { // which cannot be removed
				text = strings.Replace(text, "work:", "final: true, work:", 1)
			}
			if k.Name == "exec" {
				text = strings.Replace(text, "work: inodes", "work: exec", 1)
			}
			if k.Name == "seconds" { // a fault lasts until its verdict
				text = strings.Replace(text, "class: spin", "class: none", 1)
			}
			if s, err := Parse("x.yaml", []byte(text), v); err != nil || len(s.Declared) != 1 {
				t.Errorf("%s: the example does not parse: %v", name, err)
			}
		} else if k.Section == OfCampaign || k.Name == "campaign" { // what is drawn must be tried
			text := strings.Replace(whole(k, example), "[spinlock-deadlock, control-idle]", AllDeclared, 1)
			if s, err := Parse("x.yaml", []byte(text), v); err != nil || len(s.Declared) != 200 {
				t.Errorf("%s: the example does not parse: %v", name, err)
			}
		} else if k.Name == "bounded_ms" { // no control can be bounded
			text := strings.Replace(whole(k, example), ", control-idle", "", 1)
			if _, err := Parse("x.yaml", []byte(text), v); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if _, err := Parse("x.yaml", []byte(whole(k, example)), v); err != nil {
			t.Errorf("%s: the example does not parse: %v", name, err)
		}
		_, err := Parse("x.yaml", []byte(whole(k, "")), v)
		if missing := err != nil && strings.Contains(err.Error(), "has no "+k.Name+": add the key"); missing != k.Required {
			t.Errorf("%s: required %v, and without it: %v", name, k.Required, err)
		}
		if (k.Range() != "") != (k.Type == number || k.Name == "bounded_ms") {
			t.Errorf("%s: a %s with the range %q", name, k.Type, k.Range())
		}
		if k.Type != number {
			continue
		}
		for value, bad := range map[int64]bool{k.Min: false, k.Max: false, k.Min - 1: true, k.Max + 1: true} {
			_, err := Parse("x.yaml", []byte(whole(k, fmt.Sprint(value))), v)
			refused := err != nil && strings.Contains(err.Error(),
				fmt.Sprintf("%s is %d, out of range: use %s", k.Name, value, k.Range()))
			if refused != bad {
				t.Errorf("%s: %d, range %s: %v", name, value, k.Range(), err)
			}
		}
	}
	if len(seen) < 30 {
		t.Errorf("%d keys", len(seen))
	}
}

// TestAllOf: all-faults and all-controls stand for every scenario of their kind that
// the suite can try and does not name.
func TestAllOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, scenarios, more, want, err string }{
		{"controls", "all-controls", "", "control-idle control-busy", ""},
		{"as a list", "[all-controls]", "", "control-idle control-busy", ""},
		{"in an order", "[control-busy, all-controls]", "", "control-busy control-idle", ""},
		{"faults of one vCPU", "all-faults", "", "spinlock-deadlock no-way-back", ""},
		{"both", "[all-controls, all-faults]", "", "control-idle control-busy spinlock-deadlock no-way-back", ""},
		{"what can be bounded", "all-faults", "bounded_ms: [500]\n", "spinlock-deadlock", ""},
		{"nothing to bound", "all-controls", "bounded_ms: [500]\n", "",
			"x.yaml:2: scenarios is all-controls and there is none that the suite can try: name some"},
		{"twice", "[all-faults, all-faults]", "", "", `x.yaml:2: scenario "all-faults" stands in line 2 already`},
		{"misspelt", "[all-fault]", "", "", `did you mean "all-faults"?`},
		{"another word", "every-fault", "", "", `x.yaml:2: scenarios is the text "every-fault": write a list`},
	} {
		s, err := Parse("x.yaml", []byte(strings.Replace(minimal, "[control-idle]", tc.scenarios, 1)+tc.more), vocabulary)
		switch {
		case tc.err != "":
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %q", tc.name, err, tc.err)
			}
		case err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case strings.Join(s.Scenarios, " ") != tc.want:
			t.Errorf("%s: %q, want %q", tc.name, s.Scenarios, tc.want)
		}
	}
	two := strings.NewReplacer("[control-idle]", "all-faults", "vcpus: 1", "vcpus: 2").Replace(minimal)
	s, err := Parse("x.yaml", []byte(two), vocabulary)
	if err != nil || !slices.Equal(s.Scenarios, []string{"spinlock-deadlock", "two-needed", "no-way-back"}) {
		t.Errorf("with two vCPUs: %+v, %v", s, err)
	}
}

// TestAllMechanisms: all-mechanisms stands for every mechanism with a monitor that the
// list does not name.
func TestAllMechanisms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ mechanisms, want, err string }{
		{"all-mechanisms", "exec-step exec-altp2m", ""},
		{"[all-mechanisms]", "exec-step exec-altp2m", ""},
		{"[none, all-mechanisms]", "none exec-step exec-altp2m", ""},
		{"[exec-altp2m, all-mechanisms]", "exec-altp2m exec-step", ""},
		{"[all-mechanisms, all-mechanisms]", "", `x.yaml:3: mechanism "all-mechanisms" stands in line 3 already`},
		{"[all-mechanism]", "", `did you mean "all-mechanisms"?`},
		{"every", "", `x.yaml:3: mechanisms is the text "every": write a list`},
	} {
		s, err := Parse("x.yaml", []byte(strings.Replace(minimal, "[none]", tc.mechanisms, 1)), vocabulary)
		switch {
		case tc.err != "":
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %q", tc.mechanisms, err, tc.err)
			}
		case err != nil:
			t.Errorf("%s: %v", tc.mechanisms, err)
		case strings.Join(s.Mechanisms, " ") != tc.want:
			t.Errorf("%s: %q, want %q", tc.mechanisms, s.Mechanisms, tc.want)
		}
	}
}

// TestSameAsNamed: the built-in suites that say "all" try what they tried when they
// named each scenario, in the same order: the plans, their seeds and their hashes are
// those of the reference runs.
func TestSameAsNamed(t *testing.T) {
	t.Parallel()
	const controls = "control-idle control-busy control-uneven control-syscalls control-forks control-memory " +
		"control-disk " +
		"control-pages control-mutex control-pause control-stopped-task control-time-jump control-slow-disk " +
		"control-limited-bomb control-kernel-work"
	const common = "spinlock-deadlock spinlock-irqoff hard-lockup soft-lockup mutex-deadlock io-stall fork-bomb " +
		"memory-thrash lost-timer panic"
	const others = "spinlock-deadlock-partial spinlock-abba hard-lockup-partial soft-lockup-partial monitor-livelock " +
		"spinlock-devices spinlock-forks spinlock-tick missing-unlock irq-restore-lost panic-loop panic-reboot"
	// A scenario that is newer is tried too, and does not count here.
	v := built()
	there := strings.Fields(common + " " + others + " " + controls)
	v.Scenarios = slices.DeleteFunc(v.Scenarios, func(s scenario) bool {
		return !s.Measures() && !slices.Contains(there, s.ID)
	})
	for name, want := range map[string]string{
		"controls": controls,
		"soak":     controls,
		"coverage": common + " spinlock-devices spinlock-forks spinlock-tick missing-unlock irq-restore-lost panic-loop " +
			"panic-reboot " + controls,
		"drivers-faults": "spinlock-deadlock spinlock-devices spinlock-forks spinlock-tick missing-unlock " +
			"irq-restore-lost spinlock-irqoff " +
			"hard-lockup soft-lockup mutex-deadlock io-stall fork-bomb memory-thrash lost-timer panic panic-loop panic-reboot",
	} {
		s, err := Load(name, v)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.Scenarios, " "); got != want {
			t.Errorf("%s tries\n%s\nand tried\n%s", name, got, want)
		}
	}
	for _, name := range []string{"coverage", "coverage-smp"} {
		s, err := Load(name, built())
		if err != nil {
			t.Fatal(err)
		}
		const want = "poll cr3 exec-step exec-emulate exec-altp2m exec-altp2m-fast int3-step int3-altp2m write-altp2m"
		// A mechanism that is newer comes after these.
		if got := strings.Join(s.Mechanisms, " "); !strings.HasPrefix(got, want) {
			t.Errorf("%s tries\n%s\nand tried\n%s", name, got, want)
		}
	}
}

func TestObservers(t *testing.T) {
	t.Parallel()
	const probe = "observers:\n  - name: probe\n    command: [/bin/probe, \"{domid}\"]\n"
	s, err := Parse("x.yaml", []byte(minimal+probe+"  - {name: other, command: [/bin/other]}\n"), vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.Observers); got != "[{probe [/bin/probe {domid}]} {other [/bin/other]}]" {
		t.Errorf("observers %s", got)
	}
	s, err = Parse("x.yaml", []byte(strings.Replace(minimal, "[none]", "[none, probe]", 1)+probe), vocabulary)
	if err != nil || !slices.Equal(s.Mechanisms, []string{"none", "probe"}) {
		t.Errorf("an observer in place of the monitor: %v, %v", s, err)
	}
	// At the limits: four observers, 64 words, and a word of 4096 bytes.
	most := "observers:\n  - {name: a, command: [/a" + strings.Repeat(", a", 62) + ", " + strings.Repeat("a",
		4096) + "]}\n"
	for _, name := range []string{"b", "c", "d"} {
		most += "  - {name: " + name + ", command: [/a]}\n"
	}
	if s, err := Parse("x.yaml", []byte(minimal+most), vocabulary); err != nil || len(s.Observers) != 4 {
		t.Errorf("as much as is allowed: %v", err)
	}
	long := strings.Repeat(", a", 64)
	for _, tc := range []struct{ text, want string }{
		{"observers: probe\n", `x.yaml:9: observers is the text "probe": write a list`},
		{"observers: []\n", "x.yaml:9: observers is an empty list"},
		{"observers: [{name: p}]\n", "x.yaml:9: an observer has no command: add the key"},
		{"observers: [{command: [/a]}]\n", "x.yaml:9: an observer has no name: add the key"},
		{"observers: [{name: p, command: [/a], user: me}]\n",
			`x.yaml:9: an observer has no key "user": valid keys are command, name`},
		{"observers: [{name: P p, command: [/a]}]\n", `x.yaml:9: name "P p": use lower-case letters`},
		{"observers: [{name: p, command: /a}]\n", `x.yaml:9: command is the text "/a": write a list`},
		{"observers: [{name: p, command: []}]\n", "x.yaml:9: command is an empty list"},
		{"observers: [{name: p, command: [a]}]\n", `x.yaml:9: command begins with "a": write the whole path`},
		{"observers: [{name: p, command: [/a, 5]}]\n", "x.yaml:9: command is the number 5: write a word"},
		{"observers: [{name: p, command: [/a, \"b\\0\"]}]\n", "no zero byte"},
		{"observers: [{name: p, command: [/a, " + strings.Repeat("a", 4097) + "]}]\n", "a word has at most 4096 bytes"},
		{"observers: [{name: p, command: [/a" + long + "]}]\n", "x.yaml:9: command has 65 words: use at most 64"},
		{"observers: [{name: exec-step, command: [/a]}]\n", `x.yaml:9: an observer cannot be called "exec-step"`},
		{"observers: [{name: linux, command: [/a]}]\n", `x.yaml:9: an observer cannot be called "linux"`},
		{"observers:\n  - {name: p, command: [/a]}\n  - {name: p, command: [/a]}\n",
			`x.yaml:11: observer "p" stands in line 10 already`},
		{"observers: [" + strings.Repeat("{name: p, command: [/a]}, ", 5) + "]\n",
			"x.yaml:9: there are 5 observers: use at most 4"},
	} {
		if _, err := Parse("x.yaml", []byte(minimal+tc.text), vocabulary); err == nil ||
			!strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: error %v, want %q", tc.text, err, tc.want)
		}
	}
	bad := strings.NewReplacer("[none]", "[prob]").Replace(minimal) + probe
	if _, err := Parse("x.yaml", []byte(bad), vocabulary); err == nil ||
		!strings.Contains(err.Error(), `mechanism "prob" is unknown (did you mean "probe"?)`) {
		t.Errorf("misspelt observer: %v", err)
	}
}
