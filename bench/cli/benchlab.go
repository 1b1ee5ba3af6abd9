package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hangbench/analysis/stats"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/scenarios/suites"
)

// labBench measures the lab: wall times and sizes of this machine, today.
type labBench struct {
	lab      labFlags
	variants bool
	restores int
	json     bool
}

// benchRow is one measured value.
type benchRow struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Limit  float64 `json:"limit,omitempty"` // above it the lab is too slow or too big
	Detail string  `json:"detail"`
}

// benchedLab is what was measured of one lab.
type benchedLab struct {
	Variant string     `json:"variant"` // ordinary, or what sets it apart
	Lab     string     `json:"lab"`     // its key
	Rows    []benchRow `json:"rows"`
}

// ordinary names the lab that is no other variant.
const ordinary = "ordinary"

// benchLab returns the command "bench lab". Its former name was "lab bench".
func (a *app) benchLab(name string) *cobra.Command {
	c := a.command(name, "measure boot, restore, memory and disk of the lab",
		"Measure the lab on this machine: cold boot to agent ready, restore to agent answering, memory, disk. "+
			"Wall times depend on the machine and its load.", 0, 0)
	var b labBench
	b.lab.add(c)
	c.Flags().BoolVar(&b.variants, "variants", false,
		"measure the lab of each guest kernel, release of Xen and set of programs too; each is fetched and built")
	c.Flags().IntVar(&b.restores, "restores", 5, "`number` of restores, 1 to 100")
	c.Flags().BoolVar(&b.json, "json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error { return b.run(c.Context(), a) }
	return c
}

func (b *labBench) run(ctx context.Context, a *app) error {
	if b.restores < 1 || b.restores > 100 {
		return exit.Usagef("--restores %d: want 1 to 100", b.restores)
	}
	h, err := b.lab.host(ctx, a)
	if err != nil {
		return err
	}
	defer h.Close()
	variants := []lab.Variant{{}}
	if b.variants {
		variants = lab.Variants()
	}
	var all []benchedLab
	for _, v := range variants {
		one, err := b.measure(ctx, a, h, v)
		if err != nil {
			return fmt.Errorf("measure the lab %s: %w", one.Variant, err)
		}
		all = append(all, one)
	}
	a.display.End()
	if b.json {
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Schema int          `json:"schema"`
			Labs   []benchedLab `json:"labs"`
		}{2, all})
	}
	for _, l := range all {
		fmt.Fprintf(a.out, "lab %s, %s, on this machine (wall time, Bochs %s)\n", l.Lab, l.Variant,
			h.Lab.Manifest.Version("bochs"))
		for _, r := range l.Rows {
			limit := ""
			if r.Limit > 0 {
				limit = fmt.Sprintf("limit %g", r.Limit)
			}
			fmt.Fprintf(a.out, "  %-20s %10.3f  %-11s %s\n", r.Name, r.Value, limit, r.Detail)
		}
	}
	return nil
}

// guestOf returns a guest that needs this variant of the lab.
func guestOf(v lab.Variant) suites.Guest {
	g := defaultGuest()
	g.Superpages, g.Programs, g.XenRelease = v.Superpages, v.Programs, v.Xen
	if v.Kernel != "" {
		g.Kernel = v.Kernel
	}
	if v.HVM {
		g.Type, g.Boot = suites.HVM, suites.Distro
	}
	return g
}

// measure measures one variant of the lab. own is the host of the ordinary one.
func (b *labBench) measure(ctx context.Context, a *app, own *labhost.Host, v lab.Variant) (benchedLab, error) {
	one := benchedLab{Variant: v.String()}
	if one.Variant == "" {
		one.Variant = ordinary
	}
	step := func(what string) {
		if b.variants {
			what += ", lab " + one.Variant
		}
		a.step(what)
	}
	guest := guestOf(v)
	h, err := own.Of(ctx, guest)
	if err != nil {
		return one, err
	}
	one.Lab = h.Lab.Manifest.Key()
	step("cold boot")
	boot, err := h.ColdBoot(ctx)
	if err != nil {
		return one, err
	}
	if _, err := h.Base(ctx); err != nil {
		return one, err
	}
	var times []float64
	var peak int64
	for i := range b.restores {
		step(fmt.Sprintf("restore %d of %d", i+1, b.restores))
		sec, kib, err := restore(ctx, h)
		if err != nil {
			return one, err
		}
		times = append(times, sec)
		peak = max(peak, kib)
	}
	median, _ := stats.Median(times) // there is at least one
	step("guest")
	up, err := h.GuestBoot(ctx, guest)
	if err != nil {
		return one, err
	}
	if _, err := own.Guest(ctx, guest); err != nil { // the snapshot is part of the lab's disk
		return one, err
	}
	one.Rows = []benchRow{
		{"cold_boot_sec", round(boot.Seconds()), 60, "power-on to agent ready, and saved"},
		{"restore_median_sec", round(median), 10,
			fmt.Sprintf("restore to dom0 having answered \"xl list\", n=%d", b.restores)},
		{"restore_max_sec", round(slices.Max(times)), 10, "the slowest of them"},
		{"guest_boot_sec", round(up.Seconds()), 0, "restore, create a guest, its heartbeat runs, and saved"},
		{"emulator_peak_mib", float64(peak / 1024), 1536, "peak resident memory of one lab after a restore"},
		{"lab_mib", float64(diskMiB(h.Lab.Dir)), 0, "its disc and its snapshots on disk"},
	}
	if h == own {
		one.Rows = append(one.Rows,
			benchRow{"cache_mib", float64(diskMiB(string(h.Lab.Cache))), 1536, "the whole cache on disk"})
		return one, nil
	}
	packages, unpacked := more(own.Lab, h.Lab)
	one.Rows = append(one.Rows,
		benchRow{"packages_mib", float64(packages >> 20), 0, "packages that the ordinary lab does not need"},
		benchRow{"unpacked_mib", float64(unpacked), 0, "what of them is on disk"})
	return one, nil
}

// more returns what another lab needs beside the ordinary one: the bytes of its packages,
// and the MiB on disk of the folders in which they are unpacked.
func more(own, other *lab.Lab) (packages, unpackedMiB int64) {
	have := own.Manifest.PackageBytes()
	for sum, size := range other.Manifest.PackageBytes() {
		if _, ok := have[sum]; !ok {
			packages += size
		}
	}
	for _, dir := range other.Prefixes {
		if !slices.Contains(own.Prefixes, dir) {
			unpackedMiB += diskMiB(dir)
		}
	}
	return packages, unpackedMiB
}

// restore restores the lab once. It returns how many seconds passed until dom0 had
// answered, and the emulator's peak memory in KiB.
func restore(ctx context.Context, h *labhost.Host) (sec float64, peak int64, err error) {
	start := time.Now()
	m, err := h.Up(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer m.Close()
	_, err = m.Run(ctx, []string{"xl", "list"}, io.Discard, io.Discard)
	return time.Since(start).Seconds(), peakKiB(m.PID()), err
}

// peakKiB is the largest resident size that a process has had, in KiB; 0 when the
// process has ended.
func peakKiB(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64) // a line of another form counts as 0
			return n
		}
	}
	return 0
}
