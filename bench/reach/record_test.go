package reach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/guests/kernel"
	"hangbench/monitor/driver"
	"hangbench/scenarios/sites"
)

const (
	base  = 0xffffffff81000000 // where the kernel is linked
	slide = 0x3000000
	pages = 4
)

// guest is a guest with one vCPU, its memory, and its event ring. Its vCPU calls one
// function after the other, as fast as events are taken.
type guest struct {
	driver.Driver // panics: no other method is to be called
	driver.Ring

	t        *testing.T
	mem      []byte
	symbols  map[string]uint64 // addresses where it is linked
	calls    map[string][]call // by work
	work     string
	next     int
	rdi      uint64
	now      int64
	paused   int
	stopped  *driver.Event // not answered
	stepping bool
	listens  int
	reinject int
	vcpus    int
	fail     error
}

type call struct {
	function string
	rdi      uint64
}

var hook = []byte{0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x1f, 0x44, 0x00, 0x00}

// newGuest has four functions with a hook, one without, one that takes spinlocks and one
// that takes mutexes.
func newGuest(t *testing.T) *guest {
	t.Helper()
	g := &guest{t: t, mem: make([]byte, pages*pageSize), vcpus: 1, symbols: map[string]uint64{
		"_stext": base, "schedule": base + 0x100, "vfs_open": base + 0x200, "do_exit": base + 0x1010,
		"bare": base + 0x1100, "_raw_spin_lock": base + 0x1200, "mutex_lock": base + 0x1300, "twice": base + 0x1400,
		"at_page_end": base + 0x1ffc, "_etext": base + 0x2000, "init_code": base + 0x2100,
		"cdev_lock": base + 0x3000, "rtnl_mutex": base + 0x3100, "big": base + 0x3200, "after": base + 0x3300,
	}}
	for name, at := range g.symbols {
		if !strings.HasPrefix(name, "bare") && at < base+0x3000 && name != "_etext" && name != "at_page_end" {
			copy(g.mem[at-base:], hook)
		}
	}
	g.calls = map[string][]call{
		"idle": {{"schedule", 0}, {"schedule", 0}, {"bare", 0}},
		"opens": {{"vfs_open", 0}, {"_raw_spin_lock", base + slide + 0x3000}, {"mutex_lock", base + slide + 0x3208},
			{"schedule", 0}, {"_raw_spin_lock", base + slide + 0x3000}, {"guest's own", 0},
			{"mutex_lock", base + slide + 0x3100}},
	}
	return g
}

// table is a symbol table in the order of addresses.
type table []kernel.Symbol

func (t table) Len() int               { return len(t) }
func (t table) At(i int) kernel.Symbol { return t[i] }
func (t table) Lookup(name string) (kernel.Symbol, bool) {
	i := slices.IndexFunc(t, func(s kernel.Symbol) bool { return s.Name == name })
	if i < 0 {
		return kernel.Symbol{}, false
	}
	return t[i], true
}
func (t table) Find(addr uint64) (kernel.Symbol, uint64, bool) {
	for _, s := range t {
		if addr >= s.Addr && addr < s.Addr+s.Size {
			return s, addr - s.Addr, true
		}
	}
	return kernel.Symbol{}, 0, false
}

func (g *guest) table() table {
	var all table
	for name, at := range g.symbols {
		all = append(all, kernel.Symbol{Name: name, Addr: at, Size: 0x80, Text: at < base+0x3000})
	}
	all = append(all, kernel.Symbol{Name: "twice", Addr: g.symbols["twice"] + 0x80, Size: 0x80, Text: true})
	slices.SortFunc(all, func(a, b kernel.Symbol) int { return cmp.Compare(a.Addr, b.Addr) })
	return all
}

func (g *guest) config() Config {
	return Config{
		Driver: g, Symbols: g.table(), Slide: slide, Now: func() int64 { return g.now },
		Translate: func(va uint64) (uint64, error) {
			if va < base+slide || va >= base+slide+pages*pageSize {
				return 0, fmt.Errorf("%#x is not mapped", va)
			}
			return va - base - slide, nil
		},
		Do: func(_ context.Context, work string) error {
			g.work, g.next = work, 0
			return nil
		},
		Functions: time.Second, Locks: time.Second, MostLocks: 100, Log: slog.New(slog.DiscardHandler),
	}
}

func (g *guest) Name() string { return "fake" }
func (g *guest) VCPUs() int   { return g.vcpus }
func (g *guest) Pause() error { g.paused++; return nil }
func (g *guest) Unpause() error {
	g.paused--
	return nil
}
func (g *guest) ReadPhysical(gpa uint64, b []byte) error {
	copy(b, g.mem[gpa:])
	return nil
}
func (g *guest) WritePhysical(gpa uint64, b []byte) error {
	if len(b) > 1 && g.paused == 0 {
		g.t.Error("a page was written while the guest ran")
	}
	copy(g.mem[gpa:], b)
	return nil
}
func (g *guest) Registers(_ int, r *driver.Registers) error {
	r.General[firstArgument] = g.rdi
	return nil
}
func (g *guest) Listen() (driver.Ring, error)    { g.listens++; return g, nil }
func (g *guest) Close() error                    { g.listens--; return nil }
func (g *guest) EnableBreakpoints(on bool) error { return nil }
func (g *guest) EnableStep(on bool) error        { return nil }
func (g *guest) Flush() error                    { return nil }
func (g *guest) Wait(d time.Duration) error {
	g.now += int64(d)
	return g.fail
}

// Next runs the guest until its next event, and at most through its calls once.
func (g *guest) Next(ev *driver.Event) (bool, error) {
	if g.stopped != nil {
		g.t.Error("the vCPU is asked for an event while it waits for an answer")
	}
	if g.stepping {
		*ev = driver.Event{Kind: driver.EventStep}
		g.stopped = ev
		return true, nil
	}
	calls := g.calls[g.work]
	for ; g.next < len(calls); g.next++ {
		c := calls[g.next]
		at, ok := g.symbols[c.function]
		switch {
		case !ok:
			*ev = driver.Event{Kind: driver.EventBreakpoint, RIP: base + slide + 0x500}
		case g.mem[at-base] == int3:
			*ev, g.rdi = driver.Event{Kind: driver.EventBreakpoint, RIP: at + slide}, c.rdi
		default:
			continue
		}
		g.stopped = ev
		return true, nil
	}
	g.next = 0 // again from the beginning, after the next wait
	return false, nil
}

func (g *guest) Respond(r *driver.Response) error {
	own := g.stopped.Kind == driver.EventBreakpoint && r.Reinject
	if own {
		g.reinject++
	}
	if own || g.stopped.Kind == driver.EventStep {
		g.next++
	}
	if r.ToggleStep {
		g.stepping = !g.stepping
	}
	g.stopped = nil
	return nil
}

// TestRecord: the functions and the named locks that each work reaches, and no others; the
// guest's code is as it was.
func TestRecord(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	was := slices.Clone(g.mem)
	f, err := Record(t.Context(), g.config(), []string{"idle", "opens"})
	if err != nil {
		t.Fatal(err)
	}
	f.Kernel, f.Release = "k", "r"
	got, err := f.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	const want = `hangbench sites 1
kernel k
release r
works a=idle b=opens
function _raw_spin_lock b
function mutex_lock b
function schedule ab
function vfs_open b
spinlock cdev_lock b
mutex rtnl_mutex b
`
	if string(got) != want {
		t.Errorf("recorded\n%swant\n%s", got, want)
	}
	if !slices.Equal(g.mem, was) || g.paused != 0 || g.listens != 0 || g.stepping {
		t.Errorf("the guest is left with other code (%v), %d pauses, %d rings, stepping %v", !slices.Equal(g.mem, was),
			g.paused, g.listens, g.stepping)
	}
	if g.reinject == 0 {
		t.Error("the guest has not got its own breakpoint")
	}
}

// TestMostLocks: a work that takes locks without end is looked at for a while.
func TestMostLocks(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	c := g.config()
	c.MostLocks = 1
	f, err := Record(t.Context(), c, []string{"opens"})
	if err != nil {
		t.Fatal(err)
	}
	// Each function that takes locks is still looked at once: its breakpoint is there.
	if i := slices.IndexFunc(f.Sites, func(s sites.Site) bool { return s.Name == "rtnl_mutex" }); i >= 0 || g.stepping {
		t.Errorf("%+v, stepping %v", f.Sites, g.stepping)
	}
	if i := slices.IndexFunc(f.Sites, func(s sites.Site) bool { return s.Name == "cdev_lock" }); i < 0 {
		t.Errorf("%+v", f.Sites)
	}
}

// TestRecordErrors: what cannot be recorded is refused, and a failure leaves the guest's
// code as it was.
func TestRecordErrors(t *testing.T) {
	t.Parallel()
	g := newGuest(t)
	g.vcpus = 2
	if _, err := Record(t.Context(), g.config(), []string{"idle"}); err == nil ||
		err.Error() != "record sites: the guest has 2 vCPUs, give it one" {
		t.Error(err)
	}
	g = newGuest(t)
	was := slices.Clone(g.mem)
	g.fail = errors.New("made up")
	if _, err := Record(t.Context(), g.config(), []string{"idle"}); !errors.Is(err, g.fail) {
		t.Error(err)
	}
	if !slices.Equal(g.mem, was) || g.paused != 0 || g.listens != 0 {
		t.Errorf("the guest is left with other code (%v), %d pauses, %d rings", !slices.Equal(g.mem, was), g.paused,
			g.listens)
	}
	g = newGuest(t)
	delete(g.symbols, "_etext")
	if _, err := Record(t.Context(), g.config(), []string{"idle"}); err == nil ||
		!strings.Contains(err.Error(), "_etext") {
		t.Error(err)
	}
}
