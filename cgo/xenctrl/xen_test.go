package xenctrl

import (
	"errors"
	"syscall"
	"testing"
)

// TestOpen: on a machine that is not a Xen host, Open and OpenStore return an error that
// says so.
func TestOpen(t *testing.T) {
	want := ErrNoXen
	if !Built {
		want = ErrNotBuilt
	}
	x, err := Open()
	if err == nil {
		x.Close()
		t.Skip("this is a Xen host")
	}
	if !errors.Is(err, want) {
		t.Errorf("Open: %v", err)
	}
	if _, err := OpenStore(); !errors.Is(err, want) {
		t.Errorf("OpenStore: %v", err)
	}
}

func TestDomainInfoFlags(t *testing.T) {
	var i DomainInfo
	i.setFlags(1<<1 | 1<<2 | 1<<3 | 3<<16)
	if !i.HVM || !i.Shutdown || !i.Paused || i.Running || i.Blocked || i.Dying || i.ShutdownReason != ShutdownCrash {
		t.Errorf("%+v", i)
	}
	i.setFlags(1<<4 | 1<<5 | 255<<16)
	if i.HVM || i.Shutdown || !i.Running || !i.Blocked {
		t.Errorf("%+v", i)
	}
}

func TestCPUMask(t *testing.T) {
	m, err := cpuMask([]int{0, 9, 15}, 2)
	if err != nil || m[0] != 1 || m[1] != 0x82 {
		t.Errorf("%x %v", m, err)
	}
	for _, bad := range []int{-1, 16} {
		if _, err := cpuMask([]int{bad}, 2); err == nil {
			t.Errorf("CPU %d was taken", bad)
		}
	}
}

func TestCPL(t *testing.T) {
	if r := (Registers{SSAttr: 0xc93}); r.CPL() != 0 {
		t.Errorf("kernel: CPL %d", r.CPL())
	}
	if r := (Registers{SSAttr: 0xcf3}); r.CPL() != 3 {
		t.Errorf("user: CPL %d", r.CPL())
	}
}

// fakeMap hands out Go memory.
type fakeMap struct {
	Hypervisor
	codes    []int32
	unmapped int
}

func (f *fakeMap) MapForeign(_ DomID, _ Prot, gfns []uint64, errs []int32) ([]byte, error) {
	copy(errs, f.codes)
	return make([]byte, len(gfns)*PageSize), nil
}

func (f *fakeMap) Unmap([]byte) error { f.unmapped++; return nil }

func TestMapping(t *testing.T) {
	f := &fakeMap{}
	d := (&Xen{hv: f}).Domain(1)
	m, err := d.Map([]uint64{1, 2}, ReadOnly)
	if err != nil || m.Pages() != 2 || len(m.Bytes()) != 2*PageSize || len(m.Page(1)) != PageSize ||
		cap(m.Page(0)) != PageSize {
		t.Fatalf("%+v %v", m, err)
	}
	if err := m.Close(); err != nil || m.Bytes() != nil || m.Page(0) != nil {
		t.Errorf("closed: %v, still %d bytes", err, len(m.Bytes()))
	}
	if err := m.Close(); !errors.Is(err, ErrClosed) || f.unmapped != 1 {
		t.Errorf("closed twice: %v, unmapped %d times", err, f.unmapped)
	}

	f.codes = []int32{0, -int32(syscall.EINVAL)}
	if m, err = d.Map([]uint64{1, 2}, ReadWrite); err != nil {
		t.Fatal(err)
	}
	if m.Bytes() != nil || m.Page(0) == nil || m.Page(1) != nil || m.Err(0) != nil ||
		!errors.Is(m.Err(1), syscall.EINVAL) {
		t.Errorf("half mapped: %v %v", m.Err(0), m.Err(1))
	}
	f.codes = []int32{int32(syscall.ENOENT), int32(syscall.EINVAL)}
	f.unmapped = 0
	var e *Error
	if _, err = d.Map([]uint64{7, 8}, ReadWrite); !errors.As(err, &e) || e.GFN != 7 || !errors.Is(err, ErrNotExist) ||
		f.unmapped != 1 {
		t.Errorf("nothing mapped: %v, unmapped %d times", err, f.unmapped)
	}
	if _, err := d.Map(nil, ReadOnly); err == nil {
		t.Error("an empty mapping was made")
	}
	if _, err := d.Map([]uint64{1}, 0); err == nil {
		t.Error("a mapping without protection was made")
	}
}

type fakeDomains struct {
	Hypervisor
	n int
}

func (f *fakeDomains) Domains(first DomID, buf []DomainInfo) (int, error) {
	n := 0
	for id := int(first); id < f.n && n < len(buf); id++ {
		buf[n] = DomainInfo{ID: DomID(id)}
		n++
	}
	return n, nil
}

func TestDomainsPages(t *testing.T) {
	for _, n := range []int{0, 1, 64, 65, 200} {
		got, err := (&Xen{hv: &fakeDomains{n: n}}).Domains()
		if err != nil || len(got) != n || n > 0 && got[n-1].ID != DomID(n-1) {
			t.Errorf("%d domains: %d %v", n, len(got), err)
		}
	}
}
