package suites

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hangbench/guests/stress"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/sign"
)

// vocabulary has some scenarios that exist and some that are made up.
var vocabulary = Vocabulary{
	Scenarios: []scenarios.Scenario{
		{ID: "spinlock-deadlock", Fault: inject.StallDisk(), Sign: sign.Stuck{}},
		{ID: "control-idle"},
		{ID: "control-busy"},
		{ID: "two-needed", Fault: inject.StallDisk(), MinVCPUs: 2},
		{ID: "trap-needed", Fault: inject.Mishandled(), OfMonitor: true},
		{ID: "no-way-back", Fault: inject.StallDisk(), Final: true},
		{ID: "workload-cpu", Stress: stress.CPU},
		{ID: "workload-null", Stress: stress.Null},
	},
	Mechanisms: []Mechanism{{"none", false}, {"exec-step", true}, {"exec-altp2m", true}},
	Drivers:    []string{"xenctrl", "libvmi"},
	Kernels:    []string{"cloud-6.12", "cloud-1.0"},
	Programs:   []string{"stress-ng"},
	Xens:       []string{"4.20", "4.17"},
	Thresholds: []Threshold{{"spin_ms", 1, 600_000}, {"soft_ms", 1, 600_000}, {"forkstorm_threads", 10, 1000}},
	Baselines:  []string{"default", "minimum", "xen"},
}

// built returns the vocabulary of the built-in suites.
func built() Vocabulary {
	return NewVocabulary([]string{"xenctrl", "libvmi"}, []string{"cloud-5.10", "cloud-6.1", "cloud-6.12", "cloud-7.3",
		"generic-6.12"}, []string{stress.Set}, []string{"4.20", "4.17"})
}

// TestWhole: suites that are to leave nothing out do not.
func TestWhole(t *testing.T) {
	t.Parallel()
	v := built()
	has := func(suite string) map[string]bool {
		s, err := Load(suite, v)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(suite, "coverage") && len(s.Mechanisms) != len(v.Mechanisms)-1 {
			t.Errorf("suite %s has mechanisms %q, want all but none", suite, s.Mechanisms)
		}
		all := make(map[string]bool)
		for _, id := range s.Scenarios {
			all[id] = true
		}
		return all
	}
	one, two, controls, soak := has("coverage"), has("coverage-smp"), has("controls"), has("soak")
	classes := make(map[string]bool) // whether a fault of it is tried on two vCPUs
	for _, s := range scenarios.All() {
		if s.Stress != stress.None { // what is measured has suites of its own
			continue
		}
		if s.Control() && !(controls[s.ID] && soak[s.ID]) {
			t.Errorf("%s is not in both of controls and soak", s.ID)
		}
		if s.OfMonitor {
			continue
		}
		if !one[s.ID] && !two[s.ID] {
			t.Errorf("%s is in neither of coverage and coverage-smp", s.ID)
		}
		classes[s.Class] = classes[s.Class] || two[s.ID]
	}
	for class, is := range classes {
		if is == (class == "thrash") { // which takes too long there
			t.Errorf("coverage-smp has faults of class %q: %v", class, is)
		}
	}
}

func TestBuiltin(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range files {
		want = append(want, strings.TrimSuffix(f, ".yaml"))
	}
	got := Builtin()
	slices.Sort(want)
	slices.Sort(got)
	if len(got) == 0 || !slices.Equal(got, want) {
		t.Fatalf("built-in suites %q, the folder has %q", got, want)
	}
	v := built()
	for _, name := range Builtin() {
		s, err := Load(name, v)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if s.Name != name {
			t.Errorf("suite %s.yaml calls itself %q", name, s.Name)
		}
	}
}

func TestQuick(t *testing.T) {
	t.Parallel()
	s, err := Load("quick", vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	want := &Suite{
		Name:        "quick",
		Description: "one kernel deadlock and two controls, with and without altp2m",
		Scenarios:   []string{"spinlock-deadlock", "control-idle", "control-busy"},
		Mechanisms:  []string{"none", "exec-step", "exec-altp2m"},
		Drivers:     []string{"xenctrl"},
		Guests:      []Guest{{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160}},
		Repetitions: 2,
		Timing:      Timing{2000, 2500, 8000, 5000, 100},
		Text:        s.Text,
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("quick is %+v, want %+v", s, want)
	}
	if !strings.Contains(string(s.Text), "name: quick") {
		t.Error("the text of the suite is not kept")
	}
}

// minimal is the shortest valid suite; tests alter single lines of it.
const minimal = `name: x
scenarios: [control-idle]
mechanisms: [none]
guests:
  - kernel: cloud-6.12
    vcpus: 1
    memory_mib: 160
repetitions: 1
`

func TestDefaults(t *testing.T) {
	t.Parallel()
	s, err := Parse("x.yaml", []byte(minimal), vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s.Drivers, []string{"xenctrl"}) || s.Timing != DefaultTiming() || len(s.Thresholds) != 0 {
		t.Errorf("defaults: drivers %q, timing %+v, thresholds %v", s.Drivers, s.Timing, s.Thresholds)
	}
	s, err = Parse("x.yaml",
		[]byte(minimal+"timing: {deadline_ms: 5000}\nthresholds: {spin_ms: 50, forkstorm_threads: 1000}\n"), vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultTiming()
	want.DeadlineMS = 5000
	if same, err := Parse("x.yaml", []byte(minimal+"timing: {baseline_ms: 500, observe_ms: 500, sample_ms: 500}\n"),
		vocabulary); err != nil || same.Timing.SampleMS != 500 {
		t.Errorf("windows and samples of one length: %v", err)
	}
	if s.Timing != want ||
		!reflect.DeepEqual(s.Thresholds, map[string]int64{"spin_ms": 50, "forkstorm_threads": 1000}) {
		t.Errorf("timing %+v, thresholds %v", s.Timing, s.Thresholds)
	}
}

func TestBoot(t *testing.T) {
	t.Parallel()
	s, err := Parse("x.yaml", []byte(strings.Replace(minimal, "repetitions",
		"  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160, boot: distro}\nrepetitions", 1)), vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	want := []Guest{{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160},
		{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160, Boot: Distro}}
	if !reflect.DeepEqual(s.Guests, want) {
		t.Errorf("guests %+v, want %+v", s.Guests, want)
	}
}

// TestType: a guest of type HVM is another guest. It boots as a distribution does and in no
// other way. The default may be written out.
func TestType(t *testing.T) {
	t.Parallel()
	with := func(more string) (*Suite, error) {
		return Parse("x.yaml", []byte(strings.Replace(minimal, "repetitions",
			"  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160, "+more+"}\nrepetitions", 1)), vocabulary)
	}
	want := []Guest{{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160},
		{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160, Type: HVM, Boot: Distro}}
	for _, more := range []string{"type: hvm", "type: hvm, boot: distro"} {
		if s, err := with(more); err != nil || !reflect.DeepEqual(s.Guests, want) {
			t.Errorf("%s: guests %+v, %v, want %+v", more, s, err, want)
		}
	}
	for more, says := range map[string]string{
		"type: hvm, boot: plain": "remove boot: plain",
		`type: hvm, xen: "4.17"`: `remove type: hvm, or xen: "4.17"`,
		"type: pvh":              "the same guest stands in line",
		"type: pv":               "valid are hvm, pvh",
	} {
		if _, err := with(more); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want an error with %q", more, err, says)
		}
	}
}

// TestXen: a guest on a named Xen is another guest than one on the host's own. A release
// is a text: YAML reads 4.20 without quotes as the number 4.2.
func TestXen(t *testing.T) {
	t.Parallel()
	with := func(xen string) (*Suite, error) {
		return Parse("x.yaml", []byte(strings.Replace(minimal, "repetitions",
			"  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160, xen: "+xen+"}\nrepetitions", 1)), vocabulary)
	}
	s, err := with(`"4.20"`)
	if err != nil || len(s.Guests) != 2 || s.Guests[0].XenRelease != "" || s.Guests[1].XenRelease != "4.20" {
		t.Errorf("guests %+v, %v", s, err)
	}
	const says = "xen is the number 4.20: write a word or a text in quotes"
	if _, err := with("4.20"); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("a number: %v", err)
	}
	if _, err := with(`"4.1"`); err == nil || !strings.Contains(err.Error(), "valid are 4.17, 4.20") {
		t.Errorf("an unknown release: %v", err)
	}
}

// TestPrograms: a guest with programs is another guest, and one that workloads can
// run in. A workload that needs none runs in any.
func TestPrograms(t *testing.T) {
	t.Parallel()
	text := strings.Replace(strings.Replace(minimal, "repetitions",
		"  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 256, programs: stress-ng}\nrepetitions", 1), "control-idle",
		"workload-null", 1)
	s, err := Parse("x.yaml", []byte(text), vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	want := []Guest{{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160},
		{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 256, Programs: "stress-ng"}}
	if !reflect.DeepEqual(s.Guests, want) {
		t.Errorf("guests %+v, want %+v", s.Guests, want)
	}
	text = strings.NewReplacer("control-idle", "workload-cpu", "memory_mib: 160",
		"memory_mib: 256\n    programs: stress-ng").Replace(minimal)
	if _, err := Parse("x.yaml", []byte(text), vocabulary); err != nil {
		t.Error(err)
	}
}

// TestSuperpages: a guest with superpages is another guest.
func TestSuperpages(t *testing.T) {
	t.Parallel()
	text := strings.Replace(minimal, "repetitions",
		"  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160, superpages: true}\nrepetitions", 1)
	s, err := Parse("x.yaml", []byte(text), vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	want := []Guest{{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160},
		{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160, Superpages: true}}
	if !reflect.DeepEqual(s.Guests, want) {
		t.Errorf("guests %+v, want %+v", s.Guests, want)
	}
}

func TestBounded(t *testing.T) {
	t.Parallel()
	faults := strings.Replace(minimal, "control-idle", "spinlock-deadlock", 1)
	s, err := Parse("x.yaml", []byte(faults+"bounded_ms: [500, 30000]\n"), vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s.BoundedMS, []int64{500, 30000}) {
		t.Errorf("lengths %v", s.BoundedMS)
	}
	if s, err = Parse("x.yaml", []byte(faults+"bounded_ms: [500, 0]\n"), vocabulary); err != nil ||
		!reflect.DeepEqual(s.BoundedMS, []int64{0, 500}) {
		t.Errorf("with endless ones: %v, %v", s, err)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	edit := func(old, new string) string {
		s := strings.Replace(minimal, old, new, 1)
		if s == minimal {
			t.Fatalf("%q is not in the minimal suite", old)
		}
		return s
	}
	for _, tc := range []struct {
		name, text string
		want       []string // one a line of the message, in order
	}{
		{"empty", "", []string{"x.yaml:1: the file is empty: a suite needs"}},
		{"escape", minimal + "description: \"a\\e[31mb\"\n",
			[]string{`x.yaml:9: description is the text "a\x1b[31mb": it has a character that is not printable: remove it`}},
		{"direction of writing", minimal + "description: a\u202eb\n",
			[]string{`x.yaml:9: description is the text "a\u202eb": it has a character that is not printable: remove it`}},
		{"comment only", "# nothing\n", []string{"x.yaml:1: the file is empty"}},
		{"not YAML", "name: x\n  bad: [\n", []string{"x.yaml:2: not valid YAML: "}},
		{"tab", "name: x\nguests:\n\t- a\n",
			[]string{"x.yaml:3: not valid YAML: the line begins with a tab: indent with blanks"}},
		{"tab too deep", "name: x\na: b\n\tc: d\n",
			[]string{"x.yaml:3: not valid YAML: the line begins with a tab: indent with blanks"}},
		{"tab in the first line", "\tname: x\n", []string{"x.yaml:1: not valid YAML: the line begins with a tab"}},
		{"no token", "name: x\na: @b\n", []string{"x.yaml:2: not valid YAML: found character that cannot start any token"}},
		{"not UTF-8", "name: x\ndescription: caf\xe9 au lait\n",
			[]string{"x.yaml:2: not valid YAML: it is not UTF-8 text: save the file as UTF-8"}},
		{"zero byte", "name: x\na: \x00\n",
			[]string{"x.yaml:2: not valid YAML: it has the control character U+0000: remove it"}},
		{"control character", "name: x\n\na: \a\n",
			[]string{"x.yaml:3: not valid YAML: it has the control character U+0007"}},
		{"anchor", "name: x\n\nscenarios: *zz\n", []string{"x.yaml:3: not valid YAML: unknown anchor 'zz' referenced"}},
		{"line of the grammar", "name: x\na: b\n- c\n", []string{"x.yaml:3: not valid YAML: did not find expected key"}},
		{"first line", "a: [1]]\n", []string{"x.yaml:1: not valid YAML: did not find expected key"}},
		{"tag of a list", edit("[control-idle]", "!x [control-idle]"),
			[]string{"x.yaml:2: scenarios has the tag !x, which suites do not have: remove it"}},
		{"tag of a mapping", minimal + "timing: !x {sample_ms: 5}\n",
			[]string{"x.yaml:9: timing has the tag !x, which suites do not have: remove it"}},
		{"tag of a word", edit("name: x", "name: !x y"), []string{`x.yaml:1: name is "y" (!x): write a word`}},
		{"list as a key", minimal + "? [a, b]\n: c\n", []string{"x.yaml:9: the suite has a list as a key: write a word"}},
		{"leading zero", edit("repetitions: 1", "repetitions: 010"),
			[]string{"x.yaml:8: repetitions is the number 010: write a whole number from 1 to 1000 " +
				"without a unit or a leading zero"}},
		{"leading zero with a sign", edit("repetitions: 1", "repetitions: +01"),
			[]string{"x.yaml:8: repetitions is the number +01: write a whole number"}},
		{"long name", edit("name: x", "name: "+strings.Repeat("a", mostName+1)),
			[]string{`x.yaml:1: name "` + strings.Repeat("a", 60) + `..." has 101 characters: use at most 100`}},
		{"scalar", "hello\n", []string{`x.yaml:1: the suite is the text "hello": write it as key: value lines`}},
		{"two documents", minimal + "---\nname: y\n", []string{"x.yaml:9: a second document begins here"}},
		{"unknown key", minimal + "repetition: 2\n",
			[]string{`x.yaml:9: the suite has no key "repetition" (did you mean "repetitions"?): valid keys are baselines, ` +
				`bounded_ms, campaign, description, drivers,`}},
		{"far key", minimal + "colour: red\n", []string{`x.yaml:9: the suite has no key "colour": valid keys are`}},
		{"bounded control", minimal + "bounded_ms: [500]\n",
			[]string{`x.yaml:9: bounded_ms cannot undo scenario "control-idle", which has no fault: put it in a suite of ` +
				`its own`}},
		{"bounded baselines", edit("control-idle", "spinlock-deadlock") + "baselines: true\nbounded_ms: [500]\n",
			[]string{"x.yaml:10: bounded_ms and baselines exclude each other"}},
		{"bounded before scenarios", "bounded_ms: [500]\n" + minimal,
			[]string{`x.yaml:1: bounded_ms cannot undo scenario "control-idle"`}},
		{"bounded number", edit("control-idle", "spinlock-deadlock") + "bounded_ms: 500\n",
			[]string{"x.yaml:9: bounded_ms is the number 500: write a list"}},
		{"bounded by nothing", edit("control-idle", "spinlock-deadlock") + "bounded_ms: [0]\n",
			[]string{"x.yaml:9: bounded_ms is 0 alone, which bounds nothing"}},
		{"bounded by nothing twice", edit("control-idle", "spinlock-deadlock") + "bounded_ms: [0, 500, 0]\n",
			[]string{"x.yaml:9: bounded_ms is 0, out of range: use 100 to 600000"}},
		{"bounded lengths", edit("control-idle", "spinlock-deadlock") + "bounded_ms:\n  - 500\n  - 99\n  - 1.5\n  - 500\n",
			[]string{
				"x.yaml:11: bounded_ms is 99, out of range: use 100 to 600000",
				"x.yaml:12: bounded_ms is the number 1.5: write a whole number",
				"x.yaml:13: bounded_ms 500 stands in line 10 already"}},
		{"key twice", minimal + "name: y\n", []string{`x.yaml:9: key "name" stands in line 1 already: remove one of them`}},
		{"key missing", edit("repetitions: 1\n", ""), []string{"x.yaml:1: the suite has no repetitions: add the key"}},
		{"scenario", edit("control-idle", "control-idel"),
			[]string{`x.yaml:2: scenario "control-idel" is unknown (did you mean "control-idle"?): valid are all-controls, ` +
				`all-faults, control-busy, control-idle, no-way-back, spinlock-deadlock, trap-needed, two-needed, ` +
				`workload-cpu, workload-null`}},
		{"scenario prefix", edit("control-idle", "spinlock"), []string{`did you mean "spinlock-deadlock"?`}},
		{"mechanism", edit("[none]", "[exec_altp2m]"),
			[]string{`x.yaml:3: mechanism "exec_altp2m" is unknown (did you mean "exec-altp2m"?)`}},
		{"driver", minimal + "drivers: [libvirt]\n",
			[]string{`x.yaml:9: driver "libvirt" is unknown (did you mean "libvmi"?): valid are libvmi, xenctrl`}},
		{"kernel", edit("cloud-6.12", "cloud-6.1"),
			[]string{`x.yaml:5: kernel "cloud-6.1" is unknown (did you mean "cloud-6.12"?)`}},
		{"kernel file", edit("cloud-6.12", `"file:"`),
			[]string{`x.yaml:5: kernel is "file:": write the path of a file behind file:`}},
		{"kernel file unquoted", edit("cloud-6.12", `"file:a\nb"`), []string{`write the path of a file behind file:`}},
		{"file of something else", edit("    vcpus: 1", "    boot: file:x\n    vcpus: 1"),
			[]string{`boot "file:x" is unknown`}},
		{"scenario twice", edit("[control-idle]", "\n  - control-idle\n  - control-idle"),
			[]string{`x.yaml:4: scenario "control-idle" stands in line 3 already`}},
		{"empty list", edit("[none]", "[]"), []string{"x.yaml:3: mechanisms is an empty list: name at least one"}},
		{"no list", edit("[none]", "none"), []string{`x.yaml:3: mechanisms is the text "none": write a list`}},
		{"null list", edit("[none]", ""), []string{`x.yaml:3: mechanisms is empty: write a list`}},
		{"number as name", edit("[none]", "[7]"), []string{`x.yaml:3: mechanism is the number 7: write a word`}},
		{"name", edit("name: x", "name: Not Good"), []string{`x.yaml:1: name "Not Good": use lower-case letters`}},
		{"text as number", edit("repetitions: 1", `repetitions: "2"`),
			[]string{`x.yaml:8: repetitions is the text "2": write a whole number from 1 to 1000 ` +
				`without a unit or a leading zero`}},
		{"boot", edit("vcpus: 1", "vcpus: 1\n    boot: distr"),
			[]string{`x.yaml:7: boot "distr" is unknown (did you mean "distro"?): valid are distro, plain`}},
		{"boot as truth", edit("vcpus: 1", "vcpus: 1\n    boot: true"),
			[]string{`x.yaml:7: boot is the truth value true: write a word`}},
		{"plain is the same guest", strings.Replace(minimal, "repetitions",
			"  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160, boot: plain}\nrepetitions", 1),
			[]string{`x.yaml:8: the same guest stands in line 5`}},
		{"unit", edit("memory_mib: 160", `memory_mib: 160MiB`),
			[]string{`x.yaml:7: memory_mib is the text "160MiB": write a whole number`}},
		{"fraction", edit("repetitions: 1", `repetitions: 1.5`), []string{`x.yaml:8: repetitions is the number 1.5`}},
		{"hex", edit("repetitions: 1", `repetitions: 0x10`),
			[]string{`x.yaml:8: repetitions is the number 0x10: write a whole number`}},
		{"truth", edit("repetitions: 1", `repetitions: true`), []string{`x.yaml:8: repetitions is the truth value true`}},
		{"too few", edit("repetitions: 1", `repetitions: 0`),
			[]string{`x.yaml:8: repetitions is 0, out of range: use 1 to 1000`}},
		{"huge", edit("repetitions: 1", `repetitions: 99999999999999999999`), []string{`x.yaml:8: repetitions is `}},
		{"vcpus", edit("vcpus: 1", "vcpus: 9"), []string{`x.yaml:6: vcpus is 9, out of range: use 1 to 8`}},
		{"guest key", edit("vcpus: 1", "vcpu: 1"), []string{`x.yaml:5: a guest has no vcpus: add the key`,
			`x.yaml:6: a guest has no key "vcpu" (did you mean "vcpus"?)`}},
		{"few vcpus", edit("[control-idle]", "[two-needed]"),
			[]string{`x.yaml:1: scenario "two-needed" needs a guest with 2 vCPUs and one of the guests has 1`}},
		{"no trap", edit("[control-idle]", "[trap-needed]"),
			[]string{`x.yaml:1: scenario "trap-needed" cannot be tried with mechanism "none", only with exec-step, ` +
				`exec-altp2m: put the two in suites of their own`}},
		{"neighbours", edit("vcpus: 1", "vcpus: 1\n    neighbours: 4"),
			[]string{`x.yaml:7: neighbours is 4, out of range: use 0 to 3`}},
		{"programs", edit("vcpus: 1", "vcpus: 1\n    programs: stressng"),
			[]string{`x.yaml:7: programs "stressng" is unknown (did you mean "stress-ng"?): valid are stress-ng`}},
		{"programs as a list", edit("vcpus: 1", "vcpus: 1\n    programs: [stress-ng]"),
			[]string{`x.yaml:7: programs is a list: write a word`}},
		{"little memory", edit("vcpus: 1", "vcpus: 1\n    programs: stress-ng"),
			[]string{`x.yaml:5: memory_mib is 160, too little for a guest with stress-ng: use at least 256`}},
		{"workload without its program", edit("[control-idle]", "[workload-cpu]"),
			[]string{`x.yaml:1: scenario "workload-cpu" needs a guest with programs: stress-ng and one of the guests has none`}},
		{"fraction of a second", edit("[control-idle]", "[workload-null]") + "timing: {baseline_ms: 2200}\n",
			[]string{`x.yaml:1: scenario "workload-null" runs for whole seconds and baseline_ms is 2200: use a multiple of ` +
				`1000`}},
		{"superpages", edit("vcpus: 1", "vcpus: 1\n    superpages: 2"),
			[]string{`x.yaml:7: superpages is the number 2: write true or false`}},
		{"guest twice", strings.Replace(minimal, "repetitions",
			"  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160}\nrepetitions", 1),
			[]string{`x.yaml:8: the same guest stands in line 5`}},
		{"timing key", minimal + "timing: {deadline: 5000}\n",
			[]string{`x.yaml:9: timing has no key "deadline" (did you mean "deadline_ms"?)`}},
		{"timing value", minimal + "timing:\n  sample_ms: 10ms\n",
			[]string{`x.yaml:10: sample_ms is the text "10ms": write a whole number from 1 to 1000 ` +
				`without a unit or a leading zero`}},
		{"windows", minimal + "timing: {baseline_ms: 900, observe_ms: 800}\n",
			[]string{`x.yaml:9: observe_ms 800 is shorter than baseline_ms 900`}},
		{"sampling", minimal + "timing: {baseline_ms: 450, sample_ms: 500}\n",
			[]string{`x.yaml:9: sample_ms 500 is longer than baseline_ms 450`}},
		{"threshold key", minimal + "thresholds: {spinn_ms: 1}\n",
			[]string{`x.yaml:9: thresholds has no key "spinn_ms" (did you mean "spin_ms"?): valid keys are ` +
				`forkstorm_threads, soft_ms, spin_ms`}},
		{"threshold value", minimal + "thresholds: {spin_ms: 0}\n",
			[]string{`x.yaml:9: spin_ms is 0, out of range: use 1 to 600000`}},
		{"threshold range", minimal + "thresholds: {spin_ms: 600001, forkstorm_threads: 9}\n",
			[]string{`x.yaml:9: spin_ms is 600001, out of range: use 1 to 600000`,
				`x.yaml:9: forkstorm_threads is 9, out of range: use 10 to 1000`}},
		{"alias", strings.Replace(minimal, "mechanisms: [none]", "mechanisms: &a [none]\ndrivers: *a", 1),
			[]string{`x.yaml:4: drivers is an alias (*a), which suites do not have`}},
		{"several", edit("[none]", "[non]") + "colour: red\n",
			[]string{`x.yaml:3: mechanism "non" is unknown (did you mean "none"?)`, `x.yaml:9: the suite has no key "colour"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := Parse("x.yaml", []byte(tc.text), vocabulary)
			if err == nil {
				t.Fatalf("accepted as %+v", s)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tc.want) {
				t.Fatalf("message has %d lines, want %d:\n%v", len(lines), len(tc.want), err)
			}
			for i, want := range tc.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %q does not say %q", lines[i], want)
				}
			}
		})
	}
}

func TestLoadFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mine.yaml")
	if _, err := Load(path, vocabulary); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte(minimal), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := Load(path, vocabulary); err != nil || s.Name != "x" {
		t.Errorf("suite %+v, error %v", s, err)
	}
	_, err := Load("quik", vocabulary)
	if err == nil || !strings.Contains(err.Error(),
		`suite "quik" is not built in (did you mean "quick"?): give one of `+strings.Join(Builtin(), ", ")) {
		t.Errorf("unknown name: %v", err)
	}
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if got := editDistance(tc.a, tc.b); got != tc.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

// TestManyMistakes: the first mistakes are told, and the others counted.
func TestManyMistakes(t *testing.T) {
	t.Parallel()
	text := strings.Replace(minimal, "[control-idle]", "\n"+strings.Repeat("  - nope\n", 50_000), 1)
	_, err := Parse("x.yaml", []byte(text), vocabulary)
	if err == nil {
		t.Fatal("50,000 unknown scenarios are accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != mostProblems+1 || lines[mostProblems] != "x.yaml: 49980 more mistakes are not told" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
	// A mistake that is not told is one all the same.
	swept := strings.Replace(text, "repetitions", "sweep:\n  - {threshold: nope, values: [1, 2]}\nrepetitions", 1)
	if _, err := Parse("x.yaml", []byte(swept), vocabulary); err == nil ||
		!strings.Contains(err.Error(), "49981 more") {
		t.Error(err)
	}
}

// TestLoadBounds: what is no suite's file is refused before it is read whole.
func TestLoadBounds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	whole := minimal + "# " + strings.Repeat("x", mostBytes-len(minimal)-3) + "\n"
	for name, text := range map[string]string{"plain": minimal, "x.YAML": minimal,
		"whole.yaml": whole, "large.yaml": whole + "\n"} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/zero", at("zero.yaml")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"zero.yaml":  "zero.yaml is no regular file",
		"large.yaml": "large.yaml is larger than 1 MiB",
		"plain":      "plain is no suite: the name of a suite's file ends in .yaml or .yml",
		"x.YAML":     "x.YAML is no suite: the name",
		"":           "is no suite: the name", // the folder
		"none":       "is not built in",
	} {
		if _, err := Load(at(name), vocabulary); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if _, err := Load(at("whole.yaml"), vocabulary); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	for _, name := range Builtin() {
		data, err := embedded.ReadFile(name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(sweeping))
	f.Add([]byte(declaring))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("? [x]\n: y\n"))
	f.Add([]byte("<<: {name: x}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("x.yaml", data, vocabulary)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "x.yaml:") {
					t.Fatalf("line %q of the message names no file", line)
				}
			}
			return
		}
		if s.Name == "" || len(s.Scenarios) == 0 || len(s.Mechanisms) == 0 || len(s.Drivers) == 0 || len(s.Guests) == 0 ||
			s.Repetitions < 1 || s.Repetitions > 1000 {
			t.Fatalf("accepted %+v", s)
		}
		for name, text := range s.Declared {
			sc, err := scenarios.OfCell(results.Cell{Scenario: name, Declared: text})
			if err != nil || sc.ID != name || !slices.Contains(s.Scenarios, name) {
				t.Fatalf("the fault %s is %s: %+v, %v", name, text, sc, err)
			}
		}
	})
}

// TestKernelFile: a guest's kernel may be a file, which need not be there.
func TestKernelFile(t *testing.T) {
	t.Parallel()
	for _, kernel := range []string{"file:vmlinuz", "file:/boot/vmlinuz-7.3,/lib/modules/7.3", `"file:a b"`} {
		s, err := Parse("x.yaml", []byte(strings.Replace(minimal, "cloud-6.12", kernel, 1)), vocabulary)
		if err != nil || s.Guests[0].Kernel != strings.Trim(kernel, `"`) || s.GivenGuests || s.KernelFiles != nil {
			t.Errorf("%s: %+v, %v", kernel, s, err)
		}
	}
}
