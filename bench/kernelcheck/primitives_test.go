package kernelcheck

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/cgo/require"
	"hangbench/guests/beat"
	"hangbench/guests/kernel"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/inject"
)

// TestPrimitives: faults that no scenario has can be brought into the kernels of
// distributions and removed, and leave the code behind that they say.
func TestPrimitives(t *testing.T) {
	t.Parallel()
	faults := map[string]inject.Fault{
		"hold rwsem":         inject.HoldRWSem("namespace_sem", beat.Pass),
		"hold mutex":         inject.HoldMutex("cgroup_mutex", beat.Pass),
		"hold spinlock":      inject.HoldSpinLock("inode_hash_lock"),
		"loop":               inject.LoopIn("kernel_wait4", inject.NoVCPU),
		"loop, masked":       inject.MaskedLoopIn("kernel_wait4"),
		"skip":               inject.Skip("rcu_gp_kthread_wake", 0),
		"skip with an error": inject.Skip("kernel_wait4", -12),
		"delay by spinning":  inject.Delay("kernel_wait4", 1500*time.Millisecond, inject.Spin),
		"delay by sleeping":  inject.Delay("kernel_wait4", 1500*time.Millisecond, inject.Sleep),
	}
	for _, path := range require.KernelImages(t) {
		t.Run(strings.ReplaceAll(path, "/", " "), func(t *testing.T) {
			t.Parallel()
			k, err := kernel.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			p, err := k.Profile(inject.Fields())
			if err != nil {
				t.Fatal(err)
			}
			all := maps.Clone(faults)
			maps.Copy(all, declared(t))
			lacks := lacking(k.Release)
			for name, fault := range all {
				m, err := newImage(k, p)
				if err != nil {
					t.Fatal(err)
				}
				in, err := fault(t.Context(), m)
				if why, ok := lacks[name]; ok {
					if err == nil || !strings.Contains(err.Error(), why) {
						t.Errorf("%s: %s: %v, want %q", k.Release, name, err, why)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s: %s: %v", k.Release, name, err)
					continue
				}
				during := maps.Clone(m.written)
				if err := in.Remove(t.Context()); err != nil {
					t.Errorf("%s: %s: remove: %v", k.Release, name, err)
				}
				if final[name] {
					continue
				}
				if maps.Equal(during, m.written) {
					t.Errorf("%s: %s: nothing was removed", k.Release, name)
				}
				for _, function := range []string{"kernel_wait4", "rcu_gp_kthread_wake"} {
					if got, want := m.head(t, function), plain(t, k, p, function); !bytes.Equal(got, want) {
						t.Errorf("%s: %s: %s begins with %x after removal, want %x", k.Release, name, function, got, want)
					}
				}
			}
		})
	}
}

// head returns the first bytes of a function.
func (m *image) head(t *testing.T, function string) []byte {
	t.Helper()
	va, err := m.Symbol(function)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	m.read(va, b)
	return b
}

// plain returns the first bytes that a function has without a fault.
func plain(t *testing.T, k *kernel.Kernel, p *kernel.Profile, function string) []byte {
	t.Helper()
	m, err := newImage(k, p)
	if err != nil {
		t.Fatal(err)
	}
	return m.head(t, function)
}

// final are the primitives that cannot be removed.
var final = map[string]bool{"timer lost": true, "crash function": true, "oops function": true}

// declared returns what a suite can declare of the kernel, as the examples say.
func declared(t *testing.T) map[string]inject.Fault {
	t.Helper()
	all := make(map[string]inject.Fault)
	for _, p := range scenarios.Primitives() {
		if slices.Contains([]string{"disk", "ask", "toolstack", "dom0"}, p.Do) { // nothing of the kernel
			continue
		}
		d := results.Declaration{Do: p.Do, Args: make(map[string]string), Work: "idle", Class: "soft",
			Final: p.Final || p.Do == "oops"}
		for _, a := range p.Args {
			if a.Default == "" {
				d.Args[a.Name] = a.Example
			}
		}
		s, err := scenarios.Declare("x", d)
		if err != nil {
			t.Fatal(err)
		}
		all[p.Do+" "+p.Args[0].Name] = s.Fault
	}
	return all
}

// lacking returns the primitives whose example a kernel cannot have, with the reason.
func lacking(release string) map[string]string {
	switch {
	case strings.HasPrefix(release, "5.10."):
		return map[string]string{"forget unlock": "no symbol _raw_spin_unlock", // it is inlined
			"timer storm": "no first instruction that is known"}
	case strings.HasPrefix(release, "6.1."):
		return map[string]string{"timer storm": "no first instruction that is known"}
	}
	return nil
}
