package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hangbench/bench/exit"
	"hangbench/bench/kernelcheck"
	"hangbench/guests/kernel"
	"hangbench/guests/lab"
	"hangbench/results"
	"hangbench/results/printable"
	"hangbench/scenarios"
)

func (a *app) kernelCommand() *cobra.Command {
	return a.group("kernel", "say what a kernel permits", a.kernelCheck())
}

func (a *app) kernelCheck() *cobra.Command {
	c := a.command("check FILE", "say what a monitor can read of a kernel, and what it cannot judge",
		"Say of a kernel image (vmlinuz, vmlinux, or a Debian package with one) what a monitor can read of a guest with it, "+
			"which classes of hangs it can judge, which mechanisms work, and which faults can be injected. Nothing is run. "+
			"Exit status 1 when a class cannot be judged, or a fault that the suite declares cannot be injected.", 1, 1)
	suite := c.Flags().String("suite", "", "also try the faults that this `suite` declares")
	asJSON := c.Flags().Bool("json", false, "print the report as JSON, with every name")
	c.ValidArgsFunction = once(files)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.checkKernel(c.Context(), args[0], *suite, *asJSON)
	}
	return c
}

func (a *app) checkKernel(ctx context.Context, path, suite string, asJSON bool) error {
	declared, err := declaredFaults(ctx, suite)
	if err != nil {
		return err
	}
	inPackage, err := readInput(ctx, func() (bool, error) { return lab.IsPackage(path) })
	if err != nil {
		return err
	}
	image := path
	if inPackage {
		dir, err := os.MkdirTemp("", "hangbench-kernel-")
		if err != nil {
			return fmt.Errorf("unpack %s: %w", path, err)
		}
		defer os.RemoveAll(dir)
		// It looks at ctx itself: once it has returned it writes no more into the folder.
		if image, err = lab.UnpackKernel(ctx, path, dir); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return exit.UsageError{Err: err}
		}
	}
	r, err := readInput(ctx, func() (*kernelcheck.Report, error) {
		k, err := kernel.Open(image)
		if err != nil && (k == nil || !errors.Is(err, kernel.ErrNoBTF)) {
			return nil, err
		}
		return kernelcheck.Check(ctx, k, declared)
	})
	if err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		err = e.Encode(struct {
			Schema int    `json:"schema"`
			File   string `json:"file"`
			*kernelcheck.Report
		}{1, path, r})
	} else {
		printKernel(a.out, r)
	}
	if err == nil && !r.OK() {
		return exit.ErrFailed
	}
	return err
}

// declaredFaults returns the scenarios of the faults that a suite declares, by name. An empty
// name is no suite.
func declaredFaults(ctx context.Context, suite string) ([]scenarios.Scenario, error) {
	if suite == "" {
		return nil, nil
	}
	s, err := loadSuite(ctx, suite)
	if err != nil {
		return nil, err
	}
	if len(s.Declared) == 0 {
		return nil, exit.Usagef("suite %s declares no faults: name one that does, or leave --suite out", s.Name)
	}
	var all []scenarios.Scenario
	for _, name := range slices.Sorted(maps.Keys(s.Declared)) {
		sc, err := scenarios.OfCell(results.Cell{Scenario: name, Declared: s.Declared[name]})
		if err != nil {
			return nil, err
		}
		all = append(all, sc)
	}
	return all, nil
}

// printKernel prints a report.
func printKernel(w io.Writer, r *kernelcheck.Report) {
	types := "with types (BTF)"
	if !r.Types {
		types = "without types: it has no BTF, set CONFIG_DEBUG_INFO_BTF=y"
	}
	fmt.Fprintf(w, "Linux %s: %d symbols, %s\n", printable.Line(r.Release), r.Symbols, types)
	for _, list := range []struct {
		title, bad string
		items      []kernelcheck.Item
	}{
		{"as a guest of the lab", "lacks", r.Boot},
		{"what a monitor reads", "lacks", r.Reads},
		{"mechanisms", "fails", r.Mechanisms},
		{"faults", "fails", r.Faults},
		{"faults of the suite", "fails", r.Declared},
	} {
		if list.items == nil {
			continue
		}
		fmt.Fprintf(w, "%s:\n", list.title)
		for _, i := range list.items {
			mark := "ok"
			if !i.OK {
				mark = list.bad
			}
			fmt.Fprintf(w, "  %-5s %s%s\n", mark, i.What, names(i))
			if i.Effect != "" {
				fmt.Fprintf(w, "        %s\n", i.Effect)
			}
		}
	}
	fmt.Fprintln(w, "classes of hangs:")
	for _, c := range r.Classes {
		if c.Judged {
			fmt.Fprintf(w, "  ok    %s\n", c.Class)
			continue
		}
		fmt.Fprintf(w, "  NO    %s cannot be judged\n", c.Class)
		for _, why := range c.Why {
			fmt.Fprintf(w, "        %s\n", why)
		}
	}
}

// names returns the names of an item: those that the kernel has, and, if the item is not
// met, those that it lacks.
func names(i kernelcheck.Item) string {
	var have, lack []string
	for _, n := range i.Names {
		name := strings.TrimPrefix(n.Name, "symbol ")
		if n.Found {
			have = append(have, name)
		} else {
			lack = append(lack, name)
		}
	}
	switch {
	case len(i.Names) == 0:
		return ""
	case !i.OK:
		return ": no " + strings.Join(lack, ", ")
	}
	return ": " + strings.Join(have, ", ")
}
