package sites

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hangbench/guests/beat"
	"hangbench/scenarios"
)

func read(t *testing.T) (*File, []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "made-up.txt"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse("made-up.txt", b)
	if err != nil {
		t.Fatal(err)
	}
	return f, b
}

// TestParse: a file is read, and written as it was.
func TestParse(t *testing.T) {
	t.Parallel()
	f, b := read(t)
	want := &File{"made-up", "6.12-test", []string{"idle", "opens", "forks"}, []Site{
		{Function, "do_exit", []string{"forks"}}, {Function, "schedule", []string{"idle", "opens", "forks"}},
		{Function, "vfs_open", []string{"opens"}}, {Spinlock, "cdev_lock", []string{"opens"}},
		{Mutex, "rtnl_mutex", []string{"idle", "forks"}},
	}}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("%+v", f)
	}
	slices.Reverse(f.Sites)
	f.Sort()
	if got, err := f.Bytes(); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%v:\n%s", err, got)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	_, b := read(t)
	text := string(b)
	for name, tc := range map[string]struct{ old, new, want string }{
		"version":     {"sites 1", "sites 2", `x.txt:1: "hangbench sites 2" is not "hangbench sites 1"`},
		"kernel":      {"kernel made-up", "kernel", `x.txt:2: "kernel" is not of the form kernel NAME`},
		"work twice":  {"b=opens", "b=idle", `x.txt:4: "b=idle" is not of the form b=WORK`},
		"letter":      {"b=opens", "x=opens", `x.txt:4: "x=opens" is not of the form b=WORK`},
		"kind":        {"mutex rtnl", "lock rtnl", `x.txt:9: "lock rtnl_mutex ac" is not of the form KIND SYMBOL WORKS`},
		"symbol":      {"cdev_lock", "cdev+lock", `x.txt:8: "spinlock cdev+lock b" is not of`},
		"no work":     {"vfs_open b", "vfs_open ", `x.txt:7: "function vfs_open " is not of`},
		"other work":  {"vfs_open b", "vfs_open d", `x.txt:7: "d" has letters that no work has`},
		"wrong order": {"schedule abc", "schedule ba", `x.txt:6: "ba" has letters that no work has, or in another order`},
		"sorted":      {"function schedule", "function a", `x.txt:6: function a does not come behind function do_exit`},
		"twice":       {"function schedule", "function do_exit", `x.txt:6: function do_exit does not come behind`},
		"head only":   {text[strings.Index(text, "works"):], "", "x.txt:3: the file ends in its head"},
	} {
		if strings.Count(text, tc.old) != 1 {
			t.Fatalf("%s: %q stands there %d times", name, tc.old, strings.Count(text, tc.old))
		}
		_, err := Parse("x.txt", []byte(strings.Replace(text, tc.old, tc.new, 1)))
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "made-up.txt"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("hangbench sites 1\nkernel k\nrelease r\nworks a=w\nrwsem s a\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse("x", b)
		if err != nil {
			return
		}
		again, err := file.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Parse("x", again); err != nil || !reflect.DeepEqual(back, file) {
			t.Errorf("%q is written as %q, which is read as %+v (%v)", b, again, back, err)
		}
	})
}

// many is a file with many places.
func many(n int) *File {
	f := &File{Kernel: "made-up", Release: "r", Works: []string{"idle", "opens", "forks"}}
	for i := range n {
		f.Sites = append(f.Sites, Site{Function, fmt.Sprintf("f%04d", i), []string{"idle", "opens"}})
		if i%10 == 0 {
			f.Sites = append(f.Sites, Site{Kinds()[1+i/10%4], fmt.Sprintf("l%04d", i), []string{"forks"}})
		}
	}
	f.Sort()
	return f
}

func order(n int) Order {
	return Order{n, 1, Tune, FaultNames(), []string{"idle", "opens", "forks"}, scenarios.NotKnown}
}

// TestDraw: equal numbers draw equal faults, at different places of one half, that can be
// declared; the kinds take turns.
func TestDraw(t *testing.T) {
	t.Parallel()
	f := many(600)
	drawn, err := f.Draw(order(90))
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.Draw(order(90))
	if err != nil || !reflect.DeepEqual(again, drawn) {
		t.Errorf("equal orders draw different faults (%v)", err)
	}
	places, kinds, works := map[string]bool{}, map[string]int{}, map[string]int{}
	for i, d := range drawn {
		if _, err := scenarios.Declare(d.Name, d.Declaration); err != nil {
			t.Errorf("%s cannot be declared: %v", d.Name, err)
		}
		kind, _, _ := bytes.Cut([]byte(d.Name), []byte("-"))
		kinds[string(kind)]++
		works[d.Work]++
		if want := FaultNames()[i%len(FaultNames())]; string(kind) != want {
			t.Errorf("fault %d is %s, want kind %s", i, d.Name, want)
		}
		for key, value := range d.Args {
			if key == "ms" || key == "returns" || key == "interrupts" && value == "off" {
				continue
			}
			if s := (Site{Name: value}); s.Half() != Tune || places[value] {
				t.Errorf("%s: place %s is of half %s, or was drawn before", d.Name, value, s.Half())
			}
			places[value] = true
		}
	}
	if len(places) != 90 || len(kinds) != 9 || kinds["hold"] != 10 || works["forks"] != 10 || works["idle"] < 20 ||
		works["opens"] < 20 {
		t.Errorf("%d places, kinds %v, works %v", len(places), kinds, works)
	}

	o := order(90)
	o.Draw = 2
	other, err := f.Draw(o)
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for _, d := range other {
		if slices.ContainsFunc(drawn, func(e Drawn) bool { return e.Name == d.Name }) {
			same++
		}
	}
	if same > 30 {
		t.Errorf("draws 1 and 2 have %d of 90 faults in common", same)
	}
}

// TestDrawFew: locks that are used up leave the turn to other kinds, and an order that is too
// large is refused with the number that there is.
func TestDrawFew(t *testing.T) {
	t.Parallel()
	f := many(60) // and 6 locks
	tune := 0
	for _, s := range f.Sites {
		if s.Half() == Tune {
			tune++
		}
	}
	drawn, err := f.Draw(order(tune))
	if err != nil || len(drawn) != tune {
		t.Errorf("%d of %d drawn: %v", len(drawn), tune, err)
	}
	_, err = f.Draw(order(tune + 1))
	if want := fmt.Sprintf("places for %d faults", tune); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	o := order(1)
	o.Works = []string{"disk"}
	if drawn, err := f.Draw(o); err == nil {
		t.Errorf("a work that reaches nothing gave %v", drawn)
	}
}

// TestHalves: both halves have about as many places.
func TestHalves(t *testing.T) {
	t.Parallel()
	n := 0
	for _, s := range many(1000).Sites {
		if s.Half() == Test {
			n++
		}
	}
	if n < 450 || n > 650 {
		t.Errorf("%d of 1100 places are of the half test", n)
	}
}

// TestRecorded: every recorded file can be read, is written as it is, and names works that
// there are.
func TestRecorded(t *testing.T) {
	t.Parallel()
	for _, name := range Recorded() {
		f, err := Of(name)
		if err != nil {
			t.Error(err)
			continue
		}
		text, err := f.Bytes()
		was, rerr := data.ReadFile(folder + "/" + name + ending)
		if err != nil || rerr != nil || !bytes.Equal(text, was) || f.Kernel != name {
			t.Errorf("%s is of kernel %s, or is written otherwise (%v, %v)", name, f.Kernel, err, rerr)
		}
		for _, w := range f.Works {
			if _, ok := beat.FindWorkload(w); !ok {
				t.Errorf("%s: there is no work %s", name, w)
			}
		}
	}
	if _, err := Of("no-kernel"); !errors.Is(err, ErrNone) {
		t.Errorf("a kernel without a file: %v", err)
	}
}

// TestFaults: every kind of fault fits places that there are, and makes a declaration.
func TestFaults(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range Faults() {
		for _, of := range k.of {
			if !slices.Contains(Kinds(), of) || seen[k.Name+of] {
				t.Errorf("%s fits %s", k.Name, of)
			}
			seen[k.Name+of] = true
			d := k.declare(Site{Kind: of, Name: "some_symbol"})
			d.Work, d.Class = "busy", scenarios.NotKnown
			if wrong := scenarios.Mistakes("some-name", d); len(wrong) > 0 {
				t.Errorf("%s of a %s: %v", k.Name, of, wrong)
			}
		}
	}
}
