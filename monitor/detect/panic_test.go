package detect

import (
	"testing"
)

func TestPanic(t *testing.T) {
	t.Parallel()
	runScenes(t, []scene{
		{name: "panic_cpu",
			vcpus: 2, each: after(func(g *guest, i int) { g.kernel.Panicking = 1 }), want: want(50, ClassPanic, Full, nil,
				"CPU 1 of the guest has entered panic (panic_cpu)")},
		{name: "at the first inspection",
			each: func(g *guest, i int) { g.kernel.Panicking = 0 }, want: want(0, ClassPanic, Full, nil,
				"CPU 0 of the guest has entered panic (panic_cpu)")},
		{name: "crash",
			each: after(func(g *guest, i int) { g.o.Domain.Shutdown = "crash" }), want: want(50, ClassPanic, Full, nil,
				"the domain has shut down: crash")},
		{name: "crash while paused, then unpaused", each: after(func(g *guest, i int) {
			g.o.Domain.Shutdown, g.o.Domain.Paused = "crash", i < 60
		}), want: want(60, ClassPanic, Full, nil,
			"the domain has shut down: crash")},
		{name: "in the panic code", each: after(func(g *guest, i int) {
			g.o.Kernel = nil
			g.run(0, "delay_tsc", true).Callers = []string{"__const_udelay", "vpanic", "panic"}
		}), want: want(51, ClassPanic, Full, nil,
			"vCPU 0: in or below vpanic at 2 samples in a row")},
		{name: "in the panic function itself, on vCPU 1, after an interrupt",
			vcpus: 2, each: after(func(g *guest, i int) {
				if g.run(1, "panic.part.0", false); i == 51 {
					g.o.VCPUs[1].Symbol = rcuTick
				}
			}), want: want(52, ClassPanic, Full, nil,
				"vCPU 1: in or below panic.part.0 at 2 samples in a row")},
		{name: "a panic function among the callers, in user mode", each: after(func(g *guest, i int) {
			g.compute(0).Callers = []string{"panic"}
		})},
		{name: "the panic code, halted, the panic code", each: after(func(g *guest, i int) {
			if i%2 == 0 {
				g.run(0, "panic", true)
			}
		})},
		{name: "the panic code, offline, the panic code", vcpus: 2, each: after(func(g *guest, i int) {
			if g.run(1, "panic", true); i%2 == 1 {
				g.o.VCPUs[1].Online, g.o.VCPUs[1].Symbol = false, "f"
			}
		})},
		{name: "one stray word on the stack", each: after(func(g *guest, i int) {
			if v := g.run(0, "vfs_read", true); i%2 == 0 {
				v.Callers = []string{"panic"}
			} else {
				v.Signals++
			}
		})},
		{name: "reboot", each: after(func(g *guest, i int) { g.o.Domain.Shutdown = "reboot" })},
		{name: "reboot after a panic, seen in what is left of the guest", each: after(func(g *guest, i int) {
			g.o.Domain.Shutdown = "reboot"
			g.kernel.Panicking = 0
		}), want: want(50, ClassPanic, Full, nil,
			"the domain has shut down: reboot",
			"CPU 0 of the guest has entered panic (panic_cpu)")},
	})
}
