package main

import (
	"bytes"
	"encoding/binary"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"hangbench/guests/beat"
	"hangbench/guests/stress"
	"hangbench/scenarios"
)

// TestLists: every entry of the lists has code, and a name of its own that fits on
// the page.
func TestLists(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	check := func(list, name string, page, code bool) {
		if name == "" || page && len(name) > 8 || seen[list+name] || !code {
			t.Errorf("%s %q: empty, too long, twice in the list, or without code", list, name)
		}
		seen[list+name] = true
	}
	for _, w := range workloads() {
		check("part", w.Name, true, w.prepare != nil && (w.run != nil) == (w.Name != beat.Idle.Name))
	}
	var works []beat.Workload
	for _, w := range workloads() {
		works = append(works, w.Workload)
	}
	if !slices.Equal(works, beat.Workloads()) {
		t.Errorf("this guest can do %v, guests/beat names %v", works, beat.Workloads())
	}
	for _, p := range parts() {
		check("part", p.name, false, p.run != nil)
	}
	for _, r := range requests() {
		check("request", string(r.Request), true, r.do != nil)
	}
}

// TestScenarios: this guest can do the work of every scenario.
func TestScenarios(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios.All() {
		if s.Stress != stress.None {
			continue // a Measure request does the work
		}
		if _, ok := findWorkload(s.Workload.Name); !ok {
			t.Errorf("%s: there is no workload %q", s.ID, s.Workload.Name)
		}
	}
}

// TestDeclared: every workload and request that guests/beat names is in the lists.
func TestDeclared(t *testing.T) {
	t.Parallel()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "beat", "workloads.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	name := func(e ast.Expr) string {
		s, err := strconv.Unquote(e.(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Request" {
			found["request"]++
			if _, ok := findRequest(beat.Request(name(spec.Values[0]))); !ok {
				t.Errorf("request %s is in no list", spec.Names[0])
			}
		}
		if lit, ok := spec.Values[0].(*ast.CompositeLit); ok {
			found["workload"]++
			if _, ok := findWorkload(name(lit.Elts[0])); !ok {
				t.Errorf("workload %s is in no list", spec.Names[0])
			}
		}
		return true
	})
	if found["request"] < 10 || found["workload"] < 10 {
		t.Errorf("only %v were found in guests/beat", found)
	}
}

// TestWhere: a workload of the last vCPU runs on that one only.
func TestWhere(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		w     beat.Workload
		first int
	}{{beat.Busy, 0}, {beat.Uneven, 3}, {beat.Files, 3}, {beat.Kernel, 3}} {
		if w, ok := findWorkload(tc.w.Name); !ok || w.first(4) != tc.first {
			t.Errorf("%s runs from vCPU %d of 4 on, want %d", tc.w, w.first(4), tc.first)
		}
	}
}

// TestRun: outside of a guest, an unknown part and a vCPU out of range are refused.
func TestRun(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"does nothing elsewhere":     {"init"},
		`no part "nonsense"`:         {"init", "nonsense", "0"},
		`no part "idle"`:             {"init", "idle", "0"},
		`vCPU "32" is not in`:        {"init", "busy", "32"},
		`vCPU "x" is not in`:         {"init", "beat", "x"},
		`work "4" is not in 0 to 3`:  {"init", "busy", "0", "4"},
		"3 arguments instead of the": {"init", "busy", "0", "0", "0"},
		"0 arguments":                {"init", "busy"},
		`"x" is no token`:            {"init", "measure", "x"},
		"0 arguments instead of a t": {"init", "measure"},
	} {
		if err := run(args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}

// supervisorOn returns the state of a PID 1 with a page in memory.
func supervisorOn(t *testing.T) *supervisor {
	t.Helper()
	page, err := beat.New(make([]byte, beat.Size))
	if err != nil {
		t.Fatal(err)
	}
	page.Init()
	return &supervisor{page: page, cpus: 1}
}

// TestLook: PID 1 answers a request before it does it, and what it does not know is not
// taken for done.
func TestLook(t *testing.T) {
	t.Parallel()
	s := supervisorOn(t)
	if err := s.look(); err != nil {
		t.Fatalf("dom0 wants nothing: %v", err)
	}
	s.page.Want(beat.Workload{Name: "nosuch"})
	if err := s.look(); err != nil || !s.page.Runs(beat.Idle) {
		t.Errorf("an unknown workload: %v, and %q runs", err, s.page.Active())
	}
	if got, want := s.page.Complaint(), `workload "nosuch": it is unknown`; got != want {
		t.Errorf("complaint %q, want %q", got, want)
	}
	s.page.Want(beat.Idle)
	if err := s.look(); err != nil || !s.page.Runs(beat.Idle) {
		t.Errorf("no workload: %v, and %q runs", err, s.page.Active())
	}
	token := s.page.Ask(beat.Continue) // of no process
	if err := s.look(); err != nil || !s.page.Answered(token) {
		t.Errorf("a request: %v, answered %v", err, s.page.Answered(token))
	}
	token = s.page.Ask("nosuch")
	if err := s.look(); err == nil || !s.page.Answered(token) || !strings.Contains(err.Error(), `"nosuch"`) {
		t.Errorf("an unknown request: %v, answered %v", err, s.page.Answered(token))
	}
	token = s.page.Ask(beat.Kill) // of nothing
	if err := s.look(); err != nil || !s.page.Answered(token) {
		t.Errorf("nothing to kill: %v", err)
	}
}

// TestProcesses: the processes of a workload stop and continue on request, and end when
// dom0 wants another workload.
func TestProcesses(t *testing.T) {
	t.Parallel()
	s := supervisorOn(t)
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.workers = append(s.workers, cmd)
	state := func() string {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "stat"))
		if err != nil {
			return err.Error()
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		return rest[:1]
	}
	await := func(stopped bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); (state() == "T") != stopped; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the process is in state %s", state())
			}
		}
	}
	s.page.Ask(beat.Stop)
	if err := s.look(); err != nil {
		t.Fatal(err)
	}
	await(true)
	s.page.Ask(beat.Continue)
	if err := s.look(); err != nil {
		t.Fatal(err)
	}
	await(false)
	s.page.SetActive(beat.Busy.Name) // so that Idle is a change
	s.page.Complain("busy cannot go on")
	s.page.Want(beat.Idle)
	if err := s.look(); err != nil || !s.page.Runs(beat.Idle) {
		t.Fatalf("%v, and %q runs", err, s.page.Active())
	}
	if cmd.ProcessState == nil || len(s.workers) != 0 {
		t.Errorf("the process has not ended: %v", cmd.ProcessState)
	}
	s.page.Want(beat.Workload{Name: "sleeper+nosuch"})
	if err := s.look(); err != nil || !s.page.Runs(beat.Idle) ||
		s.page.Complaint() != `workload "nosuch": it is unknown` {
		t.Errorf("one of two works is unknown: %v, complaint %q, and %q runs", err, s.page.Complaint(), s.page.Active())
	}
	s.page.SetActive(beat.Busy.Name)
	s.page.Want(beat.Idle)
	if err := s.look(); err != nil {
		t.Error(err)
	}
	if got := s.page.Complaint(); got != "" {
		t.Errorf("a complaint of the workload before is still there: %q", got)
	}
}

// TestSwapHeader checks it against union swap_header of include/linux/swap.h:
// 1024 bytes for a boot loader, version, last page, number of bad pages, and the
// signature at the end of the page.
func TestSwapHeader(t *testing.T) {
	t.Parallel()
	b := swapHeader(96 << 20)
	le := binary.LittleEndian
	if len(b) != 4096 || le.Uint32(b[1024:]) != 1 || le.Uint32(b[1028:]) != 24575 || le.Uint32(b[1032:]) != 0 ||
		string(b[4086:]) != "SWAPSPACE2" {
		t.Errorf("header %x", b[1024:1040])
	}
}

// TestFlagsRequest: struct ifreq has 40 bytes on 64-bit Linux, the flags behind
// the name.
func TestFlagsRequest(t *testing.T) {
	t.Parallel()
	var r flagsRequest
	if size, off := unsafe.Sizeof(r), unsafe.Offsetof(r.flags); size != 40 || off != 16 {
		t.Errorf("size %d, flags at %d", size, off)
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	n, err := memory("MemTotal")
	if err != nil || n < 1<<20 {
		t.Errorf("this machine has %d bytes of memory (%v)", n, err)
	}
	if n, err := memory("NoSuchThing"); err == nil {
		t.Errorf("there are %d bytes of no such thing", n)
	}
}

// TestNaps: the naps until the end are counted, and their time is measured.
func TestNaps(t *testing.T) {
	t.Parallel()
	s, err := naps(5 * nap)
	if err != nil || s.Ops != 5 || s.NS < uint64(5*nap) || s.Failed || s.Version != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestWork: an order out of range is refused, and nothing runs.
func TestWork(t *testing.T) {
	t.Parallel()
	for _, o := range []beat.Order{{}, {Work: 1 << 40, Seconds: 1}, {Work: uint64(stress.CPU)},
		{Work: uint64(stress.CPU), Seconds: stress.Most + 1}} {
		if s, err := work(o); err == nil {
			t.Errorf("%+v came to %+v", o, s)
		}
	}
}

func TestFill(t *testing.T) {
	t.Parallel()
	const size = 1<<20 + 5
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fill(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, make([]byte, size)) {
		t.Errorf("%d bytes, not all of them written (%v)", len(b), err)
	}
	if err := fill(filepath.Join(path, "none")); err == nil {
		t.Error("what is no disk was filled")
	}
}
