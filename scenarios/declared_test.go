package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/guests/beat"
	"hangbench/results"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/sign"
)

// declared is a fault without a mistake.
func declared() results.Declaration {
	return results.Declaration{Do: "hold", Args: map[string]string{"spinlock": "inode_hash_lock"}, Work: "inodes",
		Class: "spin"}
}

// cellOf returns a cell with a declared fault.
func cellOf(t *testing.T, name string, d results.Declaration) results.Cell {
	t.Helper()
	text, err := d.Text()
	if err != nil {
		t.Fatal(err)
	}
	return results.Cell{Scenario: name, Declared: text}
}

// TestOfCell: a cell with a declared fault has the scenario that it declares, and a cell
// without one that of the program.
func TestOfCell(t *testing.T) {
	t.Parallel()
	silent := sign.Silent{VCPUs: sign.Some}
	for name, tc := range map[string]struct {
		class, work string
		final       bool
		want        Scenario
	}{
		"spin":    {"spin", "idle", false, Scenario{Workload: beat.Idle, Class: "spin", Sign: silent}},
		"final":   {"hard", "files", true, Scenario{Workload: beat.Files, Class: "hard", Sign: silent, Final: true}},
		"blocked": {"blocked", "mutex", false, Scenario{Workload: beat.Mutex, Class: "blocked", Sign: sign.Stuck{}}},
		"io":      {"io", "disk", false, Scenario{Workload: beat.Disk, Class: "io", Sign: sign.Stuck{}}},
		"thrash":  {"thrash", "pages", false, Scenario{Workload: beat.Pages, Class: "thrash", Sign: sign.Slow{}}},
		"starvation": {"starvation", "idle", false,
			Scenario{Workload: beat.Idle, Class: "starvation", Sign: silent}},
		"forkstorm": {"forkstorm", "busy", false, Scenario{Workload: beat.Busy, Class: "forkstorm", Sign: sign.Slow{}}},
		"panic":     {"panic", "idle", true, Scenario{Workload: beat.Idle, Class: "panic", Sign: sign.Ended{}, Final: true}},
		"none":      {"none", "opens", false, Scenario{Workload: beat.Opens, Sign: sign.Slow{}, Disturbed: long}},
	} {
		d := declared()
		d.Class, d.Work, d.Final = tc.class, tc.work, tc.final
		s, err := OfCell(cellOf(t, "of-mine", d))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		fault, other := s.Fault, s.Disturb
		if tc.class == NoHang {
			fault, other = other, fault
		}
		if fault == nil || other != nil {
			t.Errorf("%s: fault %v, disturbance %v", name, s.Fault != nil, s.Disturb != nil)
		}
		if _, err := fault(t.Context(), noSymbols{}); err == nil || err.Error() != "inode_hash_lock" {
			t.Errorf("%s asks a kernel for %v", name, err)
		}
		s.Fault, s.Disturb = nil, nil
		tc.want.ID, tc.want.Summary = "of-mine", "hold: {spinlock: inode_hash_lock}, work: "+tc.work+", class: "+tc.class
		if tc.final {
			tc.want.Summary += ", final: true"
		}
		if !reflect.DeepEqual(s, tc.want) {
			t.Errorf("%s: %+v, want %+v", name, s, tc.want)
		}
	}
	// Nothing is done but the work.
	s, err := OfCell(cellOf(t, "work", results.Declaration{Work: "opens", Class: NoHang}))
	want := Scenario{ID: "work", Summary: "work: opens, class: none", Workload: beat.Opens, ByWork: true}
	if err != nil || !reflect.DeepEqual(s, want) || !s.Control() {
		t.Errorf("%+v, %v, want %+v", s, err, want)
	}
	// Several works at a time.
	s, err = OfCell(cellOf(t, "works", results.Declaration{Work: "exec+opens", Exec: []string{"/bin/a", "5"},
		Class: NoHang}))
	if err != nil || s.Workload.Name != "exec+opens" || !slices.Equal(s.Exec, []string{"/bin/a", "5"}) ||
		s.Summary != "exec: [/bin/a, 5], work: [exec, opens], class: none" {
		t.Errorf("%+v, %v", s, err)
	}
	// What ends by itself is watched for as long, and nothing is asked of the guest after it.
	s, err = OfCell(cellOf(t, "silence", results.Declaration{Do: "ask", Args: map[string]string{"request": "hush"},
		Work: "sleeper", Class: NoHang}))
	if err != nil || s.Disturbed != beat.HushTime+afterwards {
		t.Errorf("%+v, %v", s, err)
	}
	guest := &obedient{}
	in, err := s.Disturb(t.Context(), guest)
	if err != nil || in.Remove(t.Context()) != nil || !slices.Equal(guest.asked, []beat.Request{beat.Hush}) {
		t.Errorf("asked for %v, %v", guest.asked, err)
	}
	s, err = OfCell(cellOf(t, "killed", results.Declaration{Do: "oops", Args: map[string]string{"function": "f"},
		Work: "devices", Class: NoHang}))
	if err != nil || s.Sign != nil || s.Disturb == nil || s.Disturbed != long {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = OfCell(results.Cell{Scenario: "spinlock-devices"})
	if err != nil || s.Workload != beat.Devices || (s.Sign != sign.Silent{VCPUs: sign.Every}) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := OfCell(results.Cell{Scenario: "spinlock-devices", Declared: "{"}); err == nil {
		t.Error("a cell with a broken declaration has a scenario")
	}
	if _, err := OfCell(cellOf(t, "spinlock-devices", declared())); err == nil {
		t.Error("a declared fault has the name of a scenario of the program")
	}
}

// obedient is a guest whose PID 1 takes every request.
type obedient struct {
	inject.Target
	asked []beat.Request
}

func (o *obedient) Ask(_ context.Context, r beat.Request) error {
	o.asked = append(o.asked, r)
	return nil
}

// witness is a guest of whose kernel nothing is known. It keeps what is asked of it first.
type witness struct {
	inject.Target
	first string
}

func (w *witness) saw(format string, a ...any) error {
	what := fmt.Sprintf(format, a...)
	if w.first == "" && !strings.HasPrefix(what, "preempt_") { // how the kernel schedules is no place of the fault
		w.first = what
	}
	return noSymbol("nothing is known")
}

func (w *witness) Symbol(name string) (uint64, error)       { return 0, w.saw("%s", name) }
func (w *witness) StallDisk(on bool) error                  { return w.saw("stall %v", on) }
func (w *witness) SlowDisk(by time.Duration) error          { return w.saw("slower by %v", by) }
func (w *witness) Cap(_ context.Context, percent int) error { return w.saw("cap %d", percent) }
func (w *witness) Pause() error                             { return w.saw("pause") }
func (w *witness) FailDisk(on bool) error                   { return w.saw("fail %v", on) }
func (w *witness) VCPUs() int                               { return 8 }
func (w *witness) SetVCPUs(_ context.Context, n int) error  { return w.saw("vcpus %d", n) }
func (w *witness) Resources() (inject.Resources, error) {
	return inject.Resources{}, w.saw("resources")
}
func (w *witness) Checkpoint(context.Context) error             { return w.saw("checkpoint") }
func (w *witness) Save(context.Context) error                   { return w.saw("save") }
func (w *witness) End(_ context.Context, e inject.Ending) error { return w.saw("end %s", e) }
func (w *witness) CapControl(_ context.Context, n int) error    { return w.saw("cap dom0 %d", n) }
func (w *witness) FillControl(left int) error                   { return w.saw("fill dom0 %d", left) }
func (w *witness) BuildOthers(_ context.Context, on bool) error { return w.saw("build %v", on) }
func (w *witness) Ask(_ context.Context, r beat.Request) error  { return w.saw("ask %s", r) }

// TestPrimitives: every primitive can be declared as its arguments' examples say, with
// every work, and does to the guest what it is to do.
func TestPrimitives(t *testing.T) {
	t.Parallel()
	want := map[string]string{ // what each asks of a guest first
		"hold spinlock": "inode_hash_lock", "hold percpu": "hrtimer_bases", "hold runqueue": "runqueues",
		"hold rwlock": "tasklist_lock", "hold sequence": "rename_lock", "hold mutex": "cgroup_mutex",
		"hold rwsem": "namespace_sem", "hold semaphore": "console_sem", "loop function": "kernel_wait4",
		"skip function": "rcu_gp_kthread_wake", "delay function": "vfs_open", "forget call": "kernel_clone",
		"forget unlock": "chrdev_open", "forget interrupts": "chacha_block_generic",
		"timer lost": "xen_vcpuop_set_next_event", "timer storm": "xen_vcpuop_set_next_event",
		"crash function": "panic_on_oops", "oops function": "die_counter",
		"disk completes none": "stall true", "disk completes errors": "fail true",
		"disk ms": "slower by 1s", "ask request bomb": "ask bomb", "ask request offline": "ask offline",
		"toolstack cap": "cap 5", "toolstack command pause": "pause", "toolstack vcpus": "vcpus 1",
		"toolstack memory_mib": "resources", "toolstack command checkpoint": "checkpoint", "toolstack command save": "save",
		"toolstack command shutdown": "end poweroff", "toolstack command reboot": "end reboot", "dom0 cap": "cap dom0 10",
		"dom0 memory_mib": "fill dom0 16", "dom0 builds guests": "build true",
	}
	for _, p := range Primitives() {
		id := p.Do + " " + p.Args[0].Name
		if p.Args[0].Words != nil {
			id += " " + p.Args[0].Example
		}
		if want[id] == "" || p.Does == "" || p.Undo == "" || p.Needs == "" || p.Args[0].Default != "" {
			t.Errorf("%s is there twice, is new, or lacks something: %+v", id, p)
		}
		for _, a := range p.Args {
			if a.Meaning == "" || a.Example == "" || a.Example == a.Default || a.wrong(a.Example) != "" ||
				a.Default != "" && a.wrong(a.Default) != "" {
				t.Errorf("%s %s: %+v", id, a.Name, a)
			}
			for _, w := range beat.Workloads() {
				d := results.Declaration{Do: p.Do, Args: map[string]string{a.Name: a.Example}, Work: w.Name, Class: "soft",
					Final: p.Final || p.leaves}
				if w == beat.Exec {
					d.Exec = []string{"/bin/a"}
				}
				if p.Departs {
					d.Class = NoHang
				}
				for _, b := range p.Args {
					if b.Default == "" {
						d.Args[b.Name] = b.Example
					}
				}
				s, err := Declare("x", d)
				if err != nil {
					t.Errorf("%s with %s: %v", id, a.Name, err)
					continue
				}
				guest, fault, first := &witness{}, s.Fault, want[id]
				if p.Departs {
					fault = s.Disturb
				}
				if a.Name == "cap" && p.Args[0].Name != "cap" {
					first = "cap 5" // the limit comes before the fault
				}
				if _, err := fault(t.Context(), guest); err == nil || guest.first != first {
					t.Errorf("%s with %s asks of a guest %q, want %q", id, a.Name, guest.first, first)
				}
				if least := map[string]int{"hold percpu": 2, "hold runqueue": 2, "ask request offline": 2,
					"toolstack vcpus": 2}[id]; s.MinVCPUs != least || s.Final != d.Final {
					t.Errorf("%s needs %d vCPUs, final %v", id, s.MinVCPUs, s.Final)
				}
			}
		}
		delete(want, id)
	}
	if len(want) > 0 {
		t.Errorf("no primitives %v", want)
	}
	// What PID 1 can be asked for can be undone.
	i := slices.IndexFunc(Primitives(), func(p Primitive) bool { return p.Do == "ask" })
	for _, word := range Primitives()[i].Args[0].Words {
		_, ok := undone(beat.Request(word))
		if ends := Primitives()[i].ends(args{"request": word}); ok == (ends > 0) {
			t.Errorf("%s: something undoes it: %v; it ends by itself after %v", word, ok, ends)
		}
	}
}

// TestShare: a loop takes the vCPUs that do the work, and none that may be preempted.
func TestShare(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		preemption string
		work       beat.Workload
		want       inject.Share
	}{
		{"off", beat.Idle, inject.AllVCPUs}, {"off", beat.Files, inject.OneVCPU}, {"on", beat.Idle, inject.NoVCPU},
		{"on", beat.Files, inject.NoVCPU},
	} {
		if got := shareOf(args{"preemption": tc.preemption}, tc.work); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

// reader is a guest whose kernel has every symbol, and whose memory cannot be read.
type reader struct {
	inject.Target
	symbols []string
}

func (r *reader) Symbol(name string) (uint64, error) {
	r.symbols = append(r.symbols, name)
	return 0x1000, nil
}
func (*reader) Size(string) (uint64, error)           { return 64, nil }
func (*reader) Translate(uint64) (uint64, error)      { return 0, noSymbol("unmapped") }
func (*reader) Offset(string, string) (uint64, error) { return 0, nil }

// TestForgets: what is forgotten is looked for in the function that is named, by the name
// of the function that is called.
func TestForgets(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args map[string]string
		want []string
	}{
		{map[string]string{"unlock": "l", "function": "f"}, []string{"f", "_raw_spin_unlock"}},
		{map[string]string{"unlock": "l", "function": "f", "by": "u"}, []string{"f", "u"}},
		{map[string]string{"call": "c", "function": "f"}, []string{"f", "c"}},
	} {
		s, err := Declare("x", results.Declaration{Do: "forget", Args: tc.args, Work: "idle", Class: "spin"})
		if err != nil {
			t.Fatal(err)
		}
		r := &reader{}
		if _, err := s.Fault(t.Context(), r); err == nil || !slices.Equal(r.symbols, tc.want) {
			t.Errorf("%v: asks for %q, %v", tc.args, r.symbols, err)
		}
	}
}

// TestMistakes: each mistake of a declaration is told with its value and a remedy.
func TestMistakes(t *testing.T) {
	t.Parallel()
	type decl = results.Declaration
	for _, tc := range []struct {
		name string
		edit func(*decl)
		want []Mistake
	}{
		{"x", func(*decl) {}, nil},
		{"X", func(*decl) {}, []Mistake{{"name", `name "X": use up to 100 lower-case letters`}}},
		{strings.Repeat("x", 101), func(*decl) {}, []Mistake{{"name", "use up to 100"}}},
		{"panic", func(*decl) {}, []Mistake{{"name", `name "panic" is that of a scenario of the program's own`}}},
		{"x", func(d *decl) { d.Do = "melt" }, []Mistake{{"do", `"melt", which is unknown: valid are hold, loop`}}},
		{"x", func(d *decl) { d.Args = nil }, []Mistake{{"do", "hold has none of spinlock, percpu, runqueue, rwlock,"}}},
		{"x", func(d *decl) { d.Args["mutex"] = "b" },
			[]Mistake{{"mutex", "hold names spinlock and mutex: declare two faults"}}},
		{"x", func(d *decl) { d.Do, d.Args, d.Class = "toolstack", map[string]string{"command": "save"}, "stopped" },
			[]Mistake{{"class", `toolstack takes the guest away and class is "stopped": write none`}}},
		{"x", func(d *decl) { d.Do, d.Args, d.Class = "toolstack", map[string]string{"command": "melt"}, "none" },
			[]Mistake{{"command", `command is "melt": write pause or checkpoint or save or shutdown or reboot`}}},
		{"x", func(d *decl) {
			d.Do, d.Args, d.Class = "toolstack", map[string]string{"command": "save", "later_s": "-1"}, "none"
		}, []Mistake{{"later_s", `later_s is "-1": write a whole number from 0 to 86400`}}},
		{"x", func(d *decl) { d.Do, d.Args = "ask", nil },
			[]Mistake{{"do", "ask has no request: add it, as in request: bomb"}}},
		{"x", func(d *decl) { d.Class, d.Seconds = "none", 600 }, nil},
		{"x", func(d *decl) { d.Class, d.Seconds = "none", 601 }, []Mistake{{"seconds", "seconds is 601: use 1 to 600"}}},
		{"x", func(d *decl) { d.Class, d.Seconds = "none", -1 }, []Mistake{{"seconds", "seconds is -1: use 1 to 600"}}},
		{"x", func(d *decl) { d.Seconds = 3 },
			[]Mistake{{"seconds", `seconds is 3 and class is "spin": a fault lasts until`}}},
		{"x", func(d *decl) { d.Args["cpu"] = "1" }, []Mistake{{"cpu", `hold has no "cpu": valid are spinlock`}}},
		{"x", func(d *decl) { d.Args["spinlock"] = "a b" },
			[]Mistake{{"spinlock", `spinlock is "a b": write the name of a symbol of the kernel, as in inode_hash_lock`}}},
		{"x", func(d *decl) { d.Args["spinlock"] = "" }, []Mistake{{"spinlock", `spinlock is "": write`}}},
		{"x", func(d *decl) { d.Args["spinlock"] = strings.Repeat("a", 101) }, []Mistake{{"spinlock", "write the"}}},
		{"x", func(d *decl) { d.Work = "inode" }, []Mistake{{"work", `work "inode" is unknown: valid are idle, busy`}}},
		{"x", func(d *decl) { d.Class = "livelock" }, []Mistake{{"class", `"livelock" is unknown: valid are spin`}}},
		{"x", func(d *decl) { d.Class, d.Work = "blocked", "idle" },
			[]Mistake{{"work", "work is idle and class is blocked, which shows by the work: name a work that counts units"}}},
		{"x", func(d *decl) { d.Class, d.Work = "none", "idle" }, []Mistake{{"work", "class is none, which shows"}}},
		{"x", func(d *decl) { d.Do, d.Args = "crash", map[string]string{"function": "f"} },
			[]Mistake{{"final", "crash cannot be removed: add final: true"}}},
		{"x", func(d *decl) { d.Do, d.Args, d.Class = "crash", map[string]string{"function": "f"}, "none" },
			[]Mistake{{"class", "crash cannot be removed and class is none: a control must go on, name another class"}}},
		{"x", func(d *decl) { d.Args = map[string]string{"percpu": "a", "cpu": "8"} },
			[]Mistake{{"cpu", `cpu is "8": write a whole number from 0 to 7`}}},
		{"x", func(d *decl) { d.Class = "panic" }, []Mistake{{"final", "add final: true"}}},
		{"x", func(d *decl) { d.Class, d.Final = "none", true }, []Mistake{{"final", "remove final"}}},
		{"x", func(d *decl) { d.Do, d.Args = "delay", map[string]string{"function": "f"} },
			[]Mistake{{"do", "delay has no ms: add it, as in ms: 1500"}}},
		{"x", func(d *decl) {
			d.Do, d.Args = "delay", map[string]string{"function": "f", "ms": "0", "wait": "nap"}
		}, []Mistake{{"ms", `ms is "0": write a whole number from 1 to 600000`},
			{"wait", `wait is "nap": write spin or sleep`}}},
		{"x", func(d *decl) {
			d.Do, d.Args = "skip", map[string]string{"function": "f", "returns": "-129"}
		},
			[]Mistake{{"returns", `returns is "-129": write a whole number from -128 to 127`}}},
		{"x", func(d *decl) {
			d.Do, d.Args = "skip", map[string]string{"function": "f", "returns": "+5"}
		},
			[]Mistake{{"returns", `returns is "+5"`}}},
		{"x", func(d *decl) {
			d.Do, d.Args = "loop", map[string]string{"function": "f", "interrupts": "off", "preemption": "on"}
		}, []Mistake{{"preemption", "preemption is on and interrupts are off"}}},
		{"x", func(d *decl) { d.Do, d.Args = "oops", map[string]string{"function": "f"} },
			[]Mistake{{"final", "oops cannot be removed: add final: true"}}},
		{"x", func(d *decl) { d.Do, d.Args, d.Class = "oops", map[string]string{"function": "f"}, "none" }, nil},
		{"x", func(d *decl) { d.Work = "busy+opens" }, nil},
		{"x", func(d *decl) { d.Work = "busy+busy" }, []Mistake{{"work", `works "busy+busy": name up to 4 works`}}},
		{"x", func(d *decl) { d.Work = "exec" }, []Mistake{{"exec", "work is exec and no program is named: add exec"}}},
		{"x", func(d *decl) { d.Exec = []string{"/bin/a"} },
			[]Mistake{{"exec", `exec names a program and work is "inodes": write work: exec`}}},
		{"x", func(d *decl) { d.Work, d.Exec = "exec", []string{"a"} }, []Mistake{{"exec", `exec begins with "a": write`}}},
		{"x", func(d *decl) { d.Work, d.Exec = "exec", []string{"/a", strings.Repeat("b", beat.MostCommand)} },
			[]Mistake{{"exec", "exec has more than 512 characters"}}},
		{"x", func(d *decl) { d.Work, d.Exec = "exec", []string{"/a", ""} }, []Mistake{{"exec", "or an empty word"}}},
		{"x", func(d *decl) { d.Work, d.Exec = "exec", []string{"/a", "-b"} }, nil},
		{"x", func(d *decl) { d.Do, d.Args, d.Class = "ask", map[string]string{"request": "hush"}, "stopped" },
			[]Mistake{{"class", "what ask does ends by itself, and class is stopped: write class: none"}}},
		{"x", func(d *decl) { d.Do, d.Args, d.Class = "", nil, "none" }, nil},
		{"x", func(d *decl) { d.Do, d.Args, d.Class, d.Final = "", nil, "none", true }, []Mistake{{"final", "remove final"}}},
		{"x", func(d *decl) { d.Do, d.Args, d.Class, d.Work = "", nil, "none", "idle" },
			[]Mistake{{"work", "class is none, which shows"}}},
		{"x", func(d *decl) { d.Do, d.Class = "", "none" }, []Mistake{{"do", `it does "", which is unknown`}}},
		{"x", func(d *decl) { d.Do, d.Args = "", nil }, []Mistake{{"do", `it does "", which is unknown`}}},
		{"X", func(d *decl) { d.Do, d.Work, d.Class = "", "", "" },
			[]Mistake{{"name", ""}, {"work", ""}, {"class", ""}, {"do", `it does "", which is unknown`}}},
	} {
		d := declared()
		tc.edit(&d)
		got := Mistakes(tc.name, d)
		same := func(a, b Mistake) bool { return a.Key == b.Key && strings.Contains(a.Says, b.Says) }
		if !slices.EqualFunc(got, tc.want, same) {
			t.Errorf("%s %+v: %+v, want %+v", tc.name, d, got, tc.want)
		}
		if _, err := Declare(tc.name, d); (err == nil) != (len(tc.want) == 0) {
			t.Errorf("%s %+v: %v", tc.name, d, err)
		}
	}
}

// TestPlain: a fault that is written with defaults is the fault without them.
func TestPlain(t *testing.T) {
	t.Parallel()
	given := map[string]string{"function": "f", "interrupts": "on", "preemption": "on"}
	d := Plain(results.Declaration{Do: "loop", Args: given, Work: "idle", Class: "soft"})
	want := map[string]string{"function": "f", "preemption": "on"}
	if !reflect.DeepEqual(d.Args, want) || len(given) != 3 {
		t.Errorf("%v of %v", d.Args, given)
	}
	for seconds, want := range map[int]int{0: 0, 9: 9, 10: 0} {
		d := declared()
		d.Class, d.Seconds = "none", seconds
		if got := Plain(d).Seconds; got != want {
			t.Errorf("%d seconds become %d", seconds, got)
		}
	}
}

// TestConfirmed: a control whose primitive makes sure of its effect needs no work that shows
// it, and lasts as long as is said.
func TestConfirmed(t *testing.T) {
	t.Parallel()
	d := results.Declaration{Do: "dom0", Args: map[string]string{"cap": "10"}, Work: "idle", Class: NoHang}
	for seconds, want := range map[int]time.Duration{0: long, 3: 3 * time.Second} {
		d.Seconds = seconds
		s, err := Declare("x", d)
		if err != nil || s.Sign != nil || s.Disturbed != want || !s.Control() {
			t.Errorf("%d seconds: %+v, %v", seconds, s, err)
		}
	}
}

// FuzzDeclared: a declaration of a record makes a scenario that a trial can run, or an
// error.
func FuzzDeclared(f *testing.F) {
	for _, p := range Primitives() {
		d := results.Declaration{Do: p.Do, Args: map[string]string{p.Args[0].Name: p.Args[0].Example}, Work: "opens",
			Class: NoHang}
		b, err := json.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("x", b)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		var text results.Declared
		if json.Unmarshal(data, &text) != nil || text == "" {
			return
		}
		s, err := OfCell(results.Cell{Scenario: name, Declared: text})
		if err != nil {
			return
		}
		if s.ByWork {
			if s.ID != name || s.Fault != nil || s.Disturb != nil || s.Class != "" || !s.Workload.Works() {
				t.Fatalf("%s is %+v", text, s)
			}
			return
		}
		if s.ID != name || s.Sign == nil && s.Disturb == nil || (s.Fault == nil) == (s.Disturb == nil) ||
			s.Control() != (s.Class == "") {
			t.Fatalf("%s is %+v", text, s)
		}
		fault := s.Fault
		if s.Control() {
			fault = s.Disturb
		}
		if _, err := fault(t.Context(), &witness{}); err == nil {
			t.Fatalf("%s went into a kernel of which nothing is known", text)
		}
	})
}
