package suites

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hangbench/monitor/detect"
	"hangbench/results"
	"hangbench/scenarios"
)

// declaring is a suite with a fault of each sort, and one of the program's.
const declaring = `name: x
faults:
  - {name: inode-hash, hold: {spinlock: inode_hash_lock}, work: inodes, class: spin}
  - name: slow-open
    delay: {function: vfs_open, ms: 1500, wait: spin}
    work: [opens]
    class: none
  - {name: gp, skip: {function: rcu_gp_kthread_wake, returns: -5}, work: rcu-sync, class: blocked, final: true}
  - {name: masked, loop: {function: kernel_wait4, interrupts: off}, work: idle, class: hard}
  - {name: forking, work: forks, class: none}
  - {name: program, exec: [/bin/a, -n, 5], work: [exec, opens], class: none}
scenarios: [control-idle, masked, all-declared]
mechanisms: [none]
guests:
  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160}
repetitions: 1
`

// TestFaults: a suite's own faults are scenarios of it, and are written without their
// defaults.
func TestFaults(t *testing.T) {
	t.Parallel()
	s, err := Parse("x.yaml", []byte(declaring), vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]results.Declared{
		"inode-hash": `{"do":"hold","args":{"spinlock":"inode_hash_lock"},"work":"inodes","class":"spin"}`,
		"slow-open":  `{"do":"delay","args":{"function":"vfs_open","ms":"1500"},"work":"opens","class":"none"}`,
		"gp": `{"do":"skip","args":{"function":"rcu_gp_kthread_wake","returns":"-5"},"work":"rcu-sync",` +
			`"class":"blocked","final":true}`,
		"masked":  `{"do":"loop","args":{"function":"kernel_wait4","interrupts":"off"},"work":"idle","class":"hard"}`,
		"forking": `{"work":"forks","class":"none"}`,
		"program": `{"work":"exec+opens","exec":["/bin/a","-n","5"],"class":"none"}`,
	}
	if !maps.Equal(s.Declared, want) {
		t.Errorf("declared %q, want %q", s.Declared, want)
	}
	order := []string{"control-idle", "masked", "inode-hash", "slow-open", "gp", "forking", "program"}
	if !slices.Equal(s.Scenarios, order) {
		t.Errorf("scenarios %q, want %q", s.Scenarios, order)
	}
	for scenarios, want := range map[string]string{
		"[all-faults, all-controls]": "spinlock-deadlock no-way-back inode-hash gp masked control-idle control-busy " +
			"slow-open forking program",
		"[all-declared, all-faults]":   "inode-hash slow-open gp masked forking program spinlock-deadlock no-way-back",
		"all-declared":                 "inode-hash slow-open gp masked forking program",
		"[all-declared, control-idle]": "inode-hash slow-open gp masked forking program control-idle",
	} {
		text := strings.Replace(declaring, "[control-idle, masked, all-declared]", scenarios, 1)
		if s, err := Parse("x.yaml", []byte(text), vocabulary); err != nil || strings.Join(s.Scenarios, " ") != want {
			t.Errorf("%s: %+v, want %s: %v", scenarios, s, want, err)
		}
	}
	// The vocabulary of the next suite is as it was.
	if s, err := Parse("x.yaml", []byte(strings.Replace(minimal, "control-idle", "masked", 1)), vocabulary); err == nil {
		t.Errorf("a suite without the fault knows it: %+v", s)
	}
	// A fault that the suite declares is swept and bounded like any other.
	swept := strings.Replace(declaring, "[control-idle, masked, all-declared]", "[masked, inode-hash]", 1)
	swept = cutLines(swept, "slow-open", "delay:", "work: [", "class: none", "name: gp", "name: forking",
		"name: program") +
		"sweep: [{threshold: spin_ms, values: [1, 2]}]\nbounded_ms: [500]\n"
	s, err = Parse("x.yaml", []byte(swept), vocabulary)
	if err != nil || !reflect.DeepEqual(s.Sweeps[0].Scenarios, []string{"masked", "inode-hash"}) {
		t.Errorf("%+v: %v", s, err)
	}
}

// cutLines returns the text without the lines that have one of the words.
func cutLines(text string, words ...string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestFaultMistakes: each mistake in a declared fault is told with file, line, value and
// remedy.
func TestFaultMistakes(t *testing.T) {
	t.Parallel()
	const good = "{name: a, hold: {spinlock: b}, work: idle, class: spin}"
	with := func(faults string) string {
		text := minimal
		if strings.Contains(faults, "name: a") {
			text = strings.Replace(minimal, "[control-idle]", "[control-idle, a]", 1)
		}
		return text + "faults:" + faults + "\n"
	}
	many := strings.Repeat("\n  - "+good, mostFaults+1)
	for i := range mostFaults {
		many = strings.Replace(many, "name: a,", fmt.Sprintf("name: a%d,", i), 1)
	}
	for _, tc := range []struct{ faults, want string }{
		{" a", `x.yaml:9: faults is the text "a": write a list`},
		{" []", "x.yaml:9: faults is an empty list"},
		{" [a]", `x.yaml:9: a fault is the text "a": write it as key: value lines`},
		{" [{name: a, work: idle, class: spin}]",
			`x.yaml:9: fault "a" does nothing: add one of hold, loop, skip, delay, forget, `},
		{" [{name: a, work: idle, class: none}]", `x.yaml:9: fault "a": work is idle and class is none, which shows`},
		{" [{name: a, hold: {spinlock: b}, class: spin}]", "x.yaml:9: a fault has no work: add the key"},
		{"\n - name: a\n   work: idle\n   class: spin\n   hold: {spinlok: b}",
			`x.yaml:13: hold has no key "spinlok" (did you mean "spinlock"?): valid keys are cap, cpu, mutex, percpu, `},
		{"\n - name: a\n   work: idle\n   class: spin\n   hold: {}",
			`x.yaml:13: fault "a": hold has none of spinlock, percpu, runqueue, rwlock, sequence, mutex, rwsem, `},
		{"\n - name: a\n   work: idle\n   class: spin\n   hold: {spinlock: a, mutex: b}",
			`x.yaml:13: fault "a": hold names spinlock and mutex: declare two faults`},
		{"\n - name: a\n   work: idle\n   class: spin\n   hold: a",
			`x.yaml:13: hold is the text "a": write it as key: value`},
		{"\n - name: a\n   work: idle\n   class: spin\n   hold: {spinlock: a}\n   loop: {function: b}",
			"x.yaml:14: a fault does hold and loop: declare two faults"},
		{"\n - name: a\n   work: idle\n   class: panic\n   crash: {function: b}",
			`x.yaml:10: fault "a": crash cannot be removed: add final: true`},
		{"\n - {name: a, hold: {runqueue: 2}, work: idle, class: hard}",
			`x.yaml:1: scenario "a" needs a guest with 3 vCPUs and one of the guests has 1`},
		{"\n - name: a\n   work: idle\n   class: spin\n   melt: {spinlock: a}",
			`x.yaml:13: a fault has no key "melt": valid keys are ask, class, crash, `},
		{"\n - name: a\n   work: opens\n   class: none\n   delay:\n    function: vfs_open\n    ms: 1.5",
			"x.yaml:15: ms is the number 1.5: write a word or a whole number"},
		{"\n - name: a\n   work: opens\n   class: none\n   delay:\n    function: vfs_open\n    ms: 600001",
			`x.yaml:15: fault "a": ms is "600001": write a whole number from 1 to 600000 without a unit`},
		{"\n - name: a\n   work: opens\n   class: none\n   delay:\n    function: vfs_open",
			`x.yaml:14: fault "a": delay has no ms: add it, as in ms: 1500`},
		{"\n - name: a\n   work: opens\n   class: none\n   delay:\n    function: 5\n    ms: 1",
			`x.yaml:14: fault "a": function is "5": write the name of a symbol of the kernel, as in vfs_open`},
		{"\n - name: a\n   work: idle\n   class: hard\n   loop: {function: b, interrupts: false}",
			"x.yaml:13: interrupts is the truth value false: write a word"},
		{"\n - name: a\n   work: idle\n   class: hard\n   loop: {function: b, interrupts: no}",
			`x.yaml:13: fault "a": interrupts is "no": write on or off`},
		{"\n - name: a\n   work: inode\n   class: spin\n   hold: {spinlock: b}",
			`x.yaml:11: work "inode" is unknown (did you mean "inodes"?): valid are build, busy,`},
		{"\n - name: a\n   work: [idle, busy]\n   class: spin\n   hold: {spinlock: b}",
			`x.yaml:11: fault "a": works "idle+busy": name up to 4 works, each once and none of them idle: valid are`},
		{"\n - name: a\n   work: exec\n   class: spin\n   exec: [/a, [b]]\n   hold: {spinlock: b}",
			"x.yaml:13: exec has a list: write words and whole numbers"},
		{"\n - name: a\n   work: exec\n   class: spin\n   exec: [a]\n   hold: {spinlock: b}",
			`x.yaml:13: fault "a": exec begins with "a": write the whole path`},
		{"\n - name: a\n   work: []\n   class: spin\n   hold: {spinlock: b}", "x.yaml:11: work is a list: write a word"},
		{"\n - name: a\n   work: idle\n   class: spinn\n   hold: {spinlock: b}",
			`x.yaml:12: class "spinn" is unknown (did you mean "spin"?): valid are blocked,`},
		{"\n - name: a\n   work: idle\n   class: blocked\n   hold: {mutex: b}",
			`x.yaml:11: fault "a": work is idle and class is blocked, which shows by the work`},
		{"\n - name: a\n   work: idle\n   class: panic\n   final: false\n   skip: {function: b}",
			`x.yaml:13: fault "a": class is panic, and a guest that has ended does not come back: add final: true`},
		{"\n - name: a\n   work: idle\n   class: spin\n   final: 1\n   hold: {spinlock: b}",
			"x.yaml:13: final is the number 1: write true or false"},
		{"\n - {name: panic, hold: {spinlock: b}, work: idle, class: spin}\n - " + good,
			`x.yaml:10: fault "panic": name "panic" is that of a scenario of the program's own: choose another`},
		{"\n - {name: all-a, hold: {spinlock: b}, work: idle, class: spin}\n - " + good,
			`x.yaml:10: name "all-a" begins with all-, as words for several scenarios do: choose another`},
		{"\n - {name: A, hold: {spinlock: b}, work: idle, class: spin}\n - " + good, `x.yaml:10: name "A": use lower-case`},
		{"\n - " + good + "\n - " + good, `x.yaml:11: fault "a" stands in line 10 already: remove one of them`},
		{"\n - " + good + "\n - " + strings.Replace(good, ": a", ": b", 1),
			`x.yaml:11: fault "b" is not among the suite's scenarios and would not be tried: add it there or remove it`},
		{many, "x.yaml:10: there are 201 faults: use at most 200"},
	} {
		_, err := Parse("x.yaml", []byte(with(tc.faults)), vocabulary)
		if err == nil {
			t.Errorf("%s: accepted, want %q", tc.faults, tc.want)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if tc.faults == many { // none of which is tried
			lines = slices.DeleteFunc(lines, func(l string) bool { return !strings.Contains(l, "201") })
		}
		if len(lines) != 1 || !strings.HasPrefix(lines[0], tc.want) {
			t.Errorf("%s:\n%v\nwant %q", tc.faults, err, tc.want)
		}
	}
}

// TestFaultClasses: a suite may declare faults of every class that the monitor can name,
// but for that of the monitor's own fault.
func TestFaultClasses(t *testing.T) {
	t.Parallel()
	var names, want []string
	for _, c := range scenarios.Classes() {
		names = append(names, c.Name)
	}
	for _, d := range detect.List() {
		want = append(want, string(d.Class))
	}
	want = append(want, scenarios.NoHang, scenarios.NotKnown)
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("classes of declared faults %q, of detectors %q", names, want)
	}
}
