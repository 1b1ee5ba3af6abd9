package dom0test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"hangbench/bench/dom0"
	"hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/xentest"
	"hangbench/guests/beat"
	"hangbench/guests/lab/place"
	"hangbench/guests/xl"
)

// Kernel is the name of the only guest kernel.
const Kernel = "fake"

// Fake is a control domain in memory.
type Fake struct {
	*dom0.Host
	Hypervisor *xentest.Host
	Consoles   string // folder of the guests' console logs

	mu      sync.Mutex
	guests  map[int]*Guest
	fail    map[string]error // of the toolstack, by method
	nmis    []int            // vCPUs that got one
	cap     int              // limit of a guest, in percent of a CPU
	calls   []string         // other calls of the toolstack, in order
	taken   int64            // of dom0's memory, in bytes
	created int
}

// Guest is a guest of a Fake.
type Guest struct {
	*xentest.Guest
	Beat   *beat.Page
	Config xl.Config // with which it was made
	stop   func()

	switches []uint64 // by CPU
	mu       sync.Mutex
	silent   bool
}

// New returns a control domain with a folder of guest kernels. It ends with the test.
func New(t testing.TB) *Fake {
	t.Helper()
	f := &Fake{Hypervisor: xentest.NewHost(xentest.Config{PhysicalCPUs: 1}), Consoles: t.TempDir(),
		guests: map[int]*Guest{},
		fail:   map[string]error{}}
	guests := t.TempDir()
	dir := filepath.Join(guests, Kernel)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, place.Profile), Profile(), 0o644); err != nil {
		t.Fatal(err)
	}
	f.Host = dom0.New(dom0.Config{Guests: guests, Work: t.TempDir()}, dom0.Parts{
		Kind: "xen", Xen: f.Hypervisor.Xen(), Store: f.Hypervisor.Store(),
		OpenStore: func() (*xenctrl.Store, error) { return f.Hypervisor.Store(), nil },
		Tools:     toolstack{f}, Consoles: f.Consoles, Memory: memory{f},
	})
	t.Cleanup(func() {
		for _, g := range f.all() {
			g.stop()
		}
		f.Hypervisor.Close()
	})
	return f
}

// Fail lets a method of the toolstack fail from now on, or work again.
func (f *Fake) Fail(method string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail[method] = err
}

// Guest returns the guest of a domain that was made here.
func (f *Fake) Guest(domid int) *Guest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.guests[domid]
}

// Guests returns how many guests there are.
func (f *Fake) Guests() int { return len(f.all()) }

// Destroy ends a guest as xl does.
func (f *Fake) Destroy(domid int) error { return toolstack{f}.Destroy(context.Background(), domid) }

func (f *Fake) all() []*Guest {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*Guest
	for _, g := range f.guests {
		all = append(all, g)
	}
	return all
}

// Cap returns the percentage of a CPU that the guests were limited to last.
func (f *Fake) Cap() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cap
}

// Taken returns how many bytes of dom0's memory are taken.
func (f *Fake) Taken() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.taken
}

// Created returns how many guests the toolstack has created.
func (f *Fake) Created() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.created
}

// Calls returns the calls of the toolstack that have no method of their own here, in order.
func (f *Fake) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// NMIs returns the vCPUs that got a non-maskable interrupt.
func (f *Fake) NMIs() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]int(nil), f.nmis...)
}

// start makes a guest that runs and beats, and announces itself if announce is set.
func (f *Fake) start(c xl.Config, announce bool) (*Guest, error) {
	vcpus := c.VCPUs
	x := f.Hypervisor.NewGuest(xentest.GuestConfig{Name: c.Name, VCPUs: vcpus, Pages: ram >> 12})
	linux{x}.boot(vcpus)
	g := &Guest{Guest: x, Config: c, switches: make([]uint64, vcpus)}
	var err error
	if g.Beat, err = beat.New(x.Page(beatGFN)); err != nil {
		return nil, err
	}
	g.Beat.Init()
	for cpu := range vcpus {
		x.VCPU(cpu).SetRegisters(registers())
		// What the program writes it writes here: it may not ask the fake for memory.
		gpa := runqueue(cpu) - direct
		rq := x.Page(gpa >> 12)[gpa&0xfff:]
		kernelAt := func(va uint64) xentest.Instruction {
			return xentest.Instruction{RIP: va, GPA: va - text + textPhys}
		}
		load := func(root uint64) xentest.Instruction {
			i := kernelAt(text)
			i.Op, i.Value = xentest.LoadCR3, root
			return i
		}
		count := kernelAt(text + 1)
		count.Op, count.Target, count.Value = xentest.Write, gpa+switchesOff, firstSwitches
		count.Do = func(*xenctrl.Registers) { g.switched(cpu, rq) }
		x.VCPU(cpu).SetProgram(true,
			load(processRoot), kernelAt(symbol(dom0.SwitchFunction)), count,
			load(kernelRoot), kernelAt(symbol(dom0.SwitchFunction)), count)
	}
	if announce {
		a := beat.Announcement{GFN: beatGFN, CPUs: vcpus, Release: Release}
		if err := f.Store.Write(xenctrl.DomainPath(x.ID())+"/"+beat.Node, a.String()); err != nil {
			return nil, err
		}
	}
	g.stop = sync.OnceFunc(x.Start(8))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guests[int(x.ID())] = g
	return g, nil
}

// Start makes a guest as if others had made it: it has no heartbeat.
func (f *Fake) Start(t testing.TB, name string) *Guest {
	t.Helper()
	g, err := f.start(xl.Config{Name: name, VCPUs: 1}, false)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// switched is a task switch of a CPU. Its run queue counts it, and the heartbeat page
// shows a beat and the work that is wanted. The instruction before it has written
// firstSwitches where the count is.
func (g *Guest) switched(cpu int, rq []byte) {
	le := binary.LittleEndian
	g.switches[cpu]++
	le.PutUint64(rq[switchesOff:], firstSwitches+g.switches[cpu])
	le.PutUint64(rq[clockOff:], le.Uint64(rq[clockOff:])+1)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.silent {
		return
	}
	g.Beat.SetActive(g.Beat.Wanted())
	g.Beat.Beat(cpu)
	if g.Beat.Wanted() != beat.Idle.Name {
		g.Beat.Work(cpu)
	}
	if _, token, asked := g.Beat.Asked(); asked {
		g.Beat.Answer(token)
	}
}

// Silence stops the guest's heartbeat and work, or starts them again.
func (g *Guest) Silence(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.silent = on
}

// toolstack is a dom0.Toolstack.
type toolstack struct{ f *Fake }

func (t toolstack) failure(method string) error {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	return t.f.fail[method]
}

func (t toolstack) Create(_ context.Context, c xl.Config) (int, error) {
	if err := t.failure("Create"); err != nil {
		return 0, err
	}
	if _, err := c.Render(); err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(t.f.Consoles, "guest-"+c.Name+".log"), []byte("booted\n"), 0o644); err != nil {
		return 0, err
	}
	g, err := t.f.start(c, true)
	if err != nil {
		return 0, err
	}
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	t.f.created++
	return int(g.ID()), nil
}

func (t toolstack) Destroy(_ context.Context, domid int) error {
	if err := t.failure("Destroy"); err != nil {
		return err
	}
	g := t.f.Guest(domid)
	if g == nil {
		return fmt.Errorf("no domain %d", domid)
	}
	g.stop()
	g.Destroy()
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	delete(t.f.guests, domid)
	return nil
}

func (t toolstack) Find(_ context.Context, name string) (int, error) {
	if err := t.failure("Find"); err != nil {
		return 0, err
	}
	id, err := t.f.Store.DomainByName(name)
	return int(id), err
}

func (t toolstack) Cap(_ context.Context, _, percent int) error {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	t.f.cap = percent
	return t.f.fail["Cap"]
}

// call notes a call, and returns the error that Fail has set for the method.
func (t toolstack) call(method string, args ...any) error {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	t.f.calls = append(t.f.calls, strings.TrimSpace(method+" "+fmt.Sprintln(args...)))
	return t.f.fail[method]
}

func (t toolstack) CapControl(_ context.Context, percent int) error {
	return t.call("CapControl", percent)
}

func (t toolstack) SetVCPUs(_ context.Context, domid, n int) error {
	return t.call("SetVCPUs", domid, n)
}

func (t toolstack) SetMemory(_ context.Context, domid, mib int) error {
	return t.call("SetMemory", domid, mib)
}

func (t toolstack) Checkpoint(_ context.Context, domid int, file string) error {
	return t.call("Checkpoint", domid, file)
}

// Save keeps the guest's heartbeat page and destroys its domain.
func (t toolstack) Save(ctx context.Context, domid int, file string) error {
	if err := t.call("Save", domid); err != nil {
		return err
	}
	g := t.f.Guest(domid)
	if g == nil {
		return fmt.Errorf("no domain %d", domid)
	}
	g.stop()
	page := bytes.Clone(g.Page(beatGFN))
	if err := t.Destroy(ctx, domid); err != nil {
		return err
	}
	return os.WriteFile(file, page, 0o600)
}

// Restore makes a domain with the heartbeat page. Its guest does not announce itself.
func (t toolstack) Restore(_ context.Context, c xl.Config, file string) (int, error) {
	if err := t.call("Restore", c.TimeOffset); err != nil {
		return 0, err
	}
	page, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	g, err := t.f.start(c, false)
	if err != nil {
		return 0, err
	}
	copy(g.Page(beatGFN), page)
	return int(g.ID()), nil
}

func (t toolstack) PowerOff(_ context.Context, domid int) error {
	return t.end("PowerOff", domid, xenctrl.ShutdownPoweroff)
}

func (t toolstack) Reboot(_ context.Context, domid int) error {
	return t.end("Reboot", domid, xenctrl.ShutdownReboot)
}

func (t toolstack) end(method string, domid int, how xenctrl.ShutdownReason) error {
	if err := t.call(method, domid); err != nil {
		return err
	}
	t.f.Guest(domid).Shutdown(how)
	return nil
}

// memory is the memory of the fake's dom0: 100 MiB.
type memory struct{ f *Fake }

func (m memory) Left() (int64, error) {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	return 100<<20 - m.f.taken, nil
}

func (m memory) Take(n int64) (release func() error, err error) {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	m.f.taken += n
	return func() error {
		m.f.mu.Lock()
		defer m.f.mu.Unlock()
		m.f.taken -= n
		return nil
	}, nil
}

func (t toolstack) NMI(_ context.Context, _, vcpu int) error {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	t.f.nmis = append(t.f.nmis, vcpu)
	return t.f.fail["NMI"]
}
