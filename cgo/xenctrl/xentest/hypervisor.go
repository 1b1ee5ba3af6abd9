package xentest

import (
	"errors"
	"slices"
	"syscall"

	"hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/internal/vmevent"
)

// handle implements xenctrl.Hypervisor.
type handle struct{ h *Host }

// target names a call and its arguments, for its error.
type target struct {
	op   string
	d    xenctrl.DomID
	vcpu int
	view int
	gfn  uint64
}

func on(op string, d xenctrl.DomID) target {
	return target{op, d, xenctrl.None, xenctrl.None, xenctrl.NoGFN}
}

func (t target) fails(e syscall.Errno) error {
	return &xenctrl.Error{Op: t.op, Domain: int(t.d), VCPU: t.vcpu, View: t.view, GFN: t.gfn, Errno: e}
}

// begin locks the host, notes the call and finds the guest. unlock is never nil.
func (x *handle) begin(t target) (g *Guest, unlock func(), err error) {
	x.h.callHook()
	unlock = x.h.lock()
	if err := x.h.enter(t.op); err != nil {
		var e *xenctrl.Error
		errors.As(err, &e)
		return nil, unlock, t.fails(e.Errno)
	}
	g, ok := x.h.guests[t.d]
	if !ok {
		return nil, unlock, t.fails(syscall.ESRCH)
	}
	return g, unlock, nil
}

// do is a call about one guest.
func (x *handle) do(t target, f func(*Guest) syscall.Errno) error {
	g, unlock, err := x.begin(t)
	defer unlock()
	if err != nil {
		return err
	}
	if e := f(g); e != 0 {
		return t.fails(e)
	}
	return nil
}

// onVCPU is do for one vCPU. missing is the error if there is none.
func (x *handle) onVCPU(op string, d xenctrl.DomID, vcpu int, missing syscall.Errno,
	f func(*VCPU) syscall.Errno) error {
	t := on(op, d)
	t.vcpu = vcpu
	return x.do(t, func(g *Guest) syscall.Errno {
		if vcpu < 0 || vcpu >= len(g.vcpus) {
			return missing
		}
		return f(g.vcpus[vcpu])
	})
}

func (x *handle) Close() error { return nil }

func (x *handle) Version() (xenctrl.Version, error) {
	defer x.h.lock()()
	if err := x.h.enter("xc_version"); err != nil {
		return xenctrl.Version{}, err
	}
	v := x.h.xen
	v.Capabilities = "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64"
	if x.h.altp2m {
		v.CommandLine = "altp2m=1"
	}
	return v, nil
}

func (x *handle) CPUs() (n, maskBytes int, err error) {
	defer x.h.lock()()
	return x.h.pcpus, (x.h.pcpus + 7) / 8, x.h.enter("xc_physinfo")
}

func (g *Guest) info() xenctrl.DomainInfo {
	info := xenctrl.DomainInfo{ID: g.id, HVM: g.hvm, Paused: g.paused > 0, Dying: g.dying, Shutdown: g.shutdown,
		ShutdownReason: g.reason,
		MaxVCPU:        len(g.vcpus) - 1, Pages: uint64(len(g.p2m)), MaxPages: g.maxPages, Blocked: true}
	for _, v := range g.vcpus {
		if v.online {
			info.VCPUs++
			info.Blocked = info.Blocked && v.blocked
		}
		info.Running = info.Running || v.runs()
		info.CPUTimeNS += v.stats.Executed * instructionNS
	}
	return info
}

// instructionNS is the CPU time of an instruction.
const instructionNS = 1000

func (x *handle) Domains(first xenctrl.DomID, buf []xenctrl.DomainInfo) (int, error) {
	defer x.h.lock()()
	if err := x.h.enter("xc_domain_getinfolist"); err != nil {
		return 0, err
	}
	all := []xenctrl.DomainInfo{{ID: 0, Running: true, VCPUs: 1}}
	for _, g := range x.h.guests {
		all = append(all, g.info())
	}
	slices.SortFunc(all, func(a, b xenctrl.DomainInfo) int { return int(a.ID) - int(b.ID) })
	i := slices.IndexFunc(all, func(d xenctrl.DomainInfo) bool { return d.ID >= first })
	if i < 0 {
		return 0, nil
	}
	return copy(buf, all[i:]), nil
}

func (x *handle) Domain(d xenctrl.DomID) (info xenctrl.DomainInfo, err error) {
	if d == 0 {
		defer x.h.lock()()
		return xenctrl.DomainInfo{Running: true, VCPUs: 1}, x.h.enter("xc_domain_getinfo_single")
	}
	err = x.do(on("xc_domain_getinfo_single", d), func(g *Guest) syscall.Errno { info = g.info(); return 0 })
	return info, err
}

func (x *handle) MaxGFN(d xenctrl.DomID) (top uint64, err error) {
	err = x.do(on("xc_domain_maximum_gpfn", d), func(g *Guest) syscall.Errno {
		for gfn := range g.p2m {
			top = max(top, gfn)
		}
		return 0
	})
	return top, err
}

func (x *handle) Pause(d xenctrl.DomID) error {
	return x.do(on("xc_domain_pause", d), func(g *Guest) syscall.Errno { g.paused++; return 0 })
}

func (x *handle) Unpause(d xenctrl.DomID) error {
	return x.do(on("xc_domain_unpause", d), func(g *Guest) syscall.Errno {
		if g.paused == 0 {
			return syscall.EINVAL
		}
		g.paused--
		g.takeSlots()
		g.poke()
		return 0
	})
}

func (x *handle) SetAccessRequired(d xenctrl.DomID, required bool) error {
	return x.do(on("xc_domain_set_access_required", d), func(g *Guest) syscall.Errno { g.required = required; return 0 })
}

func (x *handle) VCPU(d xenctrl.DomID, vcpu int) (i xenctrl.VCPUInfo, err error) {
	err = x.onVCPU("xc_vcpu_getinfo", d, vcpu, syscall.EINVAL, func(v *VCPU) syscall.Errno {
		i = xenctrl.VCPUInfo{Online: v.online, Blocked: v.blocked, Running: v.runs(), PCPU: v.pcpu,
			CPUTimeNS: v.stats.Executed * instructionNS}
		return 0
	})
	return i, err
}

func (x *handle) Registers(d xenctrl.DomID, vcpu int, r *xenctrl.Registers) error {
	return x.onVCPU("xc_domain_hvm_getcontext_partial", d, vcpu, syscall.ENOENT, func(v *VCPU) syscall.Errno {
		if !v.online {
			return syscall.ENODATA
		}
		*r = v.registers()
		return 0
	})
}

func (x *handle) SetSingleStep(d xenctrl.DomID, vcpu int, on bool) error {
	return x.onVCPU("xc_domain_debug_control", d, vcpu, syscall.EINVAL, func(v *VCPU) syscall.Errno {
		v.stepping, v.fast = on, false
		return 0
	})
}

func (x *handle) InjectBreakpoint(d xenctrl.DomID, vcpu int, _ uint8) error {
	return x.onVCPU("xc_hvm_inject_trap", d, vcpu, syscall.EINVAL, func(v *VCPU) syscall.Errno {
		v.stats.Breakpoints++
		if v.pc < len(v.program) {
			v.advance()
		}
		return 0
	})
}

func (x *handle) MapForeign(d xenctrl.DomID, p xenctrl.Prot, gfns []uint64, errs []int32) (b []byte, err error) {
	t := on("xenforeignmemory_map", d)
	t.gfn = gfns[0]
	mfns := make([]uint64, len(gfns))
	view := func(g *Guest) syscall.Errno {
		var err error
		if b, err = x.h.mem.view(mfns, p); err != nil {
			return syscall.ENOMEM
		}
		x.h.maps[&b[0]] = mapped{g, len(b)}
		return 0
	}
	if d == domXen {
		defer x.h.lock()()
		if err := x.h.enter(t.op); err != nil {
			return nil, err
		}
		for i, mfn := range gfns {
			if !x.h.trace.owns(mfn) {
				errs[i] = -int32(syscall.EINVAL)
				continue
			}
			mfns[i] = mfn
		}
		if e := view(nil); e != 0 {
			return nil, t.fails(e)
		}
		return b, nil
	}
	err = x.do(t, func(g *Guest) syscall.Errno {
		for i, gfn := range gfns {
			if mfns[i] = g.p2m[gfn]; mfns[i] == 0 {
				errs[i] = -int32(syscall.EINVAL)
			}
		}
		return view(g)
	})
	return b, err
}

// domXen is DOMID_XEN.
const domXen xenctrl.DomID = 0x7ff2

func (x *handle) Unmap(b []byte) error {
	defer x.h.lock()()
	if err := x.h.enter("xenforeignmemory_unmap"); err != nil {
		return err
	}
	m, ok := x.h.maps[&b[0]]
	if !ok || m.size != len(b) {
		return failed("xenforeignmemory_unmap", syscall.EINVAL)
	}
	delete(x.h.maps, &b[0])
	if m.guest != nil {
		x.h.bury(m.guest)
	}
	if err := unview(b); err != nil {
		return failed("xenforeignmemory_unmap", syscall.EINVAL)
	}
	return nil
}

func (x *handle) SetMaxMem(d xenctrl.DomID, kib uint64) error {
	return x.do(on("xc_domain_setmaxmem", d), func(g *Guest) syscall.Errno {
		g.maxPages = kib / (pageSize / 1024)
		return 0
	})
}

func (x *handle) Populate(d xenctrl.DomID, gfn uint64) error {
	t := on("xc_domain_populate_physmap_exact", d)
	t.gfn = gfn
	return x.do(t, func(g *Guest) syscall.Errno {
		mfn, ok := uint64(0), uint64(len(g.p2m)) < g.maxPages && g.p2m[gfn] == 0
		if ok {
			mfn, ok = x.h.mem.take()
		}
		if !ok {
			return syscall.EBUSY
		}
		g.p2m[gfn] = mfn
		return 0
	})
}

func (x *handle) Depopulate(d xenctrl.DomID, gfn uint64) error {
	t := on("xc_domain_decrease_reservation_exact", d)
	t.gfn = gfn
	return x.do(t, func(g *Guest) syscall.Errno {
		if g.p2m[gfn] == 0 {
			return syscall.EBUSY
		}
		g.remove(gfn)
		return 0
	})
}

func (x *handle) SetAccess(d xenctrl.DomID, gfn uint64, n uint32, a xenctrl.Access) error {
	t := on("xc_set_mem_access", d)
	t.gfn = gfn
	return x.do(t, func(g *Guest) syscall.Errno {
		if g.ring == nil {
			return syscall.ENODEV
		}
		for i := range uint64(n) {
			if g.p2m[gfn+i] == 0 {
				return syscall.EINVAL
			}
			g.setAccess(gfn+i, a)
		}
		return 0
	})
}

func (x *handle) Access(d xenctrl.DomID, gfn uint64) (a xenctrl.Access, err error) {
	t := on("xc_get_mem_access", d)
	t.gfn = gfn
	err = x.do(t, func(g *Guest) syscall.Errno {
		if g.ring == nil {
			return syscall.ENODEV
		}
		if g.p2m[gfn] == 0 {
			return syscall.ESRCH
		}
		a = g.hostAccess(gfn)
		return 0
	})
	return a, err
}

func (x *handle) EnableMonitor(d xenctrl.DomID) (page []byte, port uint32, err error) {
	err = x.do(on("xc_monitor_enable", d), func(g *Guest) syscall.Errno {
		if g.ring != nil {
			return syscall.EBUSY
		}
		mfn, ok := x.h.mem.take()
		if !ok {
			return syscall.ENOMEM
		}
		ring := x.h.mem.frame(mfn)
		for i := range ring {
			ring[i] = 0xa5 // the page is not cleared
		}
		if page, err = x.h.mem.view([]uint64{mfn}, xenctrl.ReadWrite); err != nil {
			return syscall.ENOMEM
		}
		x.h.maps[&page[0]] = mapped{g, len(page)}
		g.ring, g.ringMFN = &vmevent.Front{Page: ring}, mfn
		return 0
	})
	return page, uint32(d) + 6, err
}

func (x *handle) DisableMonitor(d xenctrl.DomID) error {
	return x.do(on("xc_monitor_disable", d), func(g *Guest) syscall.Errno {
		if g.ring == nil {
			return syscall.EINVAL
		}
		for _, v := range g.vcpus {
			if v.queued != nil {
				return syscall.EBUSY
			}
		}
		g.ring = nil
		clear(g.sources)
		clear(g.ctrlRegs)
		return 0
	})
}

func (x *handle) ResumeMonitor(d xenctrl.DomID) error {
	return x.do(on("xc_monitor_resume", d), func(g *Guest) syscall.Errno {
		if g.ring == nil {
			return syscall.ENODEV
		}
		g.resume()
		return 0
	})
}

func (x *handle) MonitorCtrlReg(d xenctrl.DomID, r xenctrl.CtrlReg, enable, sync bool, ignore uint64,
	onChange bool) error {
	return x.do(on("xc_monitor_write_ctrlreg", d), func(g *Guest) syscall.Errno {
		_, was := g.ctrlRegs[r]
		switch {
		case g.ring == nil:
			return syscall.ENODEV
		case was == enable:
			return syscall.EEXIST
		case enable:
			g.ctrlRegs[r] = ctrlReg{sync, onChange, ignore}
		default:
			delete(g.ctrlRegs, r)
		}
		return 0
	})
}

var sourceOps = [...]string{
	xenctrl.SourceSingleStep: "xc_monitor_singlestep", xenctrl.SourceBreakpoint: "xc_monitor_software_breakpoint",
	xenctrl.SourceEmulUnimplemented: "xc_monitor_emul_unimplemented",
}

func (x *handle) MonitorToggle(d xenctrl.DomID, s xenctrl.EventSource, enable bool) error {
	return x.do(on(sourceOps[s], d), func(g *Guest) syscall.Errno {
		switch {
		case g.ring == nil:
			return syscall.ENODEV
		case g.sources[s] == enable:
			return syscall.EEXIST
		case enable:
			g.sources[s] = true
		default:
			delete(g.sources, s)
		}
		return 0
	})
}

func (x *handle) OpenChannel(d xenctrl.DomID, _ uint32, _ []byte) (c xenctrl.EventChannel, err error) {
	err = x.do(on("xenevtchn_bind_interdomain", d), func(g *Guest) syscall.Errno {
		c = &channel{g: g, stop: make(chan struct{}, 1)}
		return 0
	})
	return c, err
}

// views is a call about altp2m, which the guest must be able to use.
func (x *handle) views(t target, f func(*Guest) syscall.Errno) error {
	return x.do(t, func(g *Guest) syscall.Errno {
		switch {
		case !x.h.altp2m:
			return syscall.EOPNOTSUPP
		case !g.altp2mOK:
			return syscall.EINVAL
		}
		return f(g)
	})
}

func (x *handle) Altp2m(d xenctrl.DomID) (enabled bool, err error) {
	err = x.views(on("xc_altp2m_get_domain_state", d), func(g *Guest) syscall.Errno { enabled = g.altp2m; return 0 })
	return enabled, err
}

func newView(def xenctrl.Access) *view {
	return &view{def: def, access: map[uint64]xenctrl.Access{}, remap: map[uint64]uint64{}}
}

func (x *handle) SetAltp2m(d xenctrl.DomID, enable bool) error {
	return x.views(on("xc_altp2m_set_domain_state", d), func(g *Guest) syscall.Errno {
		g.altp2m = enable
		clear(g.views)
		if enable {
			g.views[0] = newView(xenctrl.AccessRWX)
		}
		for _, v := range g.vcpus {
			v.view = 0
		}
		return 0
	})
}

func (x *handle) CreateView(d xenctrl.DomID, def xenctrl.Access) (n xenctrl.View, err error) {
	err = x.views(on("xc_altp2m_create_view", d), func(g *Guest) syscall.Errno {
		if !g.altp2m {
			return syscall.EINVAL
		}
		for n = 1; n < maxViews; n++ {
			if g.views[n] == nil {
				g.views[n] = newView(def)
				return 0
			}
		}
		return syscall.EINVAL
	})
	return n, err
}

func (x *handle) onView(op string, d xenctrl.DomID, n xenctrl.View, gfn uint64, missing syscall.Errno,
	f func(*Guest, *view) syscall.Errno) error {
	t := on(op, d)
	t.view, t.gfn = int(n), gfn
	return x.views(t, func(g *Guest) syscall.Errno {
		w := g.views[n]
		if w == nil {
			return missing
		}
		return f(g, w)
	})
}

func (x *handle) DestroyView(d xenctrl.DomID, n xenctrl.View) error {
	return x.onView("xc_altp2m_destroy_view", d, n, xenctrl.NoGFN, syscall.EBUSY, func(g *Guest, _ *view) syscall.Errno {
		for _, v := range g.vcpus {
			if n == 0 || v.view == n {
				return syscall.EBUSY
			}
		}
		delete(g.views, n)
		return 0
	})
}

func (x *handle) SwitchView(d xenctrl.DomID, n xenctrl.View) error {
	return x.onView("xc_altp2m_switch_to_view", d, n, xenctrl.NoGFN, syscall.EINVAL,
		func(g *Guest, _ *view) syscall.Errno {
			for _, v := range g.vcpus {
				v.view = n
			}
			return 0
		})
}

func (x *handle) SetViewAccess(d xenctrl.DomID, n xenctrl.View, gfn uint64, a xenctrl.Access) error {
	return x.onView("xc_altp2m_set_mem_access", d, n, gfn, syscall.EINVAL, func(g *Guest, w *view) syscall.Errno {
		if g.p2m[gfn] != 0 {
			w.access[gfn] = a
		}
		return 0
	})
}

func (x *handle) ViewAccess(d xenctrl.DomID, n xenctrl.View, gfn uint64) (a xenctrl.Access, err error) {
	err = x.onView("xc_altp2m_get_mem_access", d, n, gfn, syscall.EINVAL, func(_ *Guest, w *view) syscall.Errno {
		held := false
		if a, held = w.access[gfn]; !held {
			return syscall.ESRCH
		}
		return 0
	})
	return a, err
}

func (x *handle) ChangeGFN(d xenctrl.DomID, n xenctrl.View, from, to uint64) error {
	return x.onView("xc_altp2m_change_gfn", d, n, from, syscall.EINVAL, func(g *Guest, w *view) syscall.Errno {
		switch {
		case to == xenctrl.NoGFN:
			delete(w.remap, from)
			delete(w.access, from)
		case g.p2m[from] == 0 || g.p2m[to] == 0:
			return syscall.EINVAL
		default:
			w.remap[from] = to
			if _, held := w.access[from]; !held {
				w.access[from] = w.def
			}
		}
		return 0
	})
}

func (x *handle) VCPUView(d xenctrl.DomID, vcpu int) (n xenctrl.View, err error) {
	err = x.onVCPU("xc_altp2m_get_vcpu_p2m_idx", d, vcpu, syscall.EINVAL, func(v *VCPU) syscall.Errno {
		if !v.g.altp2m {
			return syscall.EOPNOTSUPP
		}
		n = v.view
		return 0
	})
	return n, err
}
