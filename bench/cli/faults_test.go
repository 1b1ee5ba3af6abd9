package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"hangbench/guests/beat"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

// TestFaultsPage: the page of faults says what the tables of primitives, classes and
// workloads say. With -update it is written anew.
func TestFaultsPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# Faults that a suite can declare

* Shows: what a suite can do to a guest without a line of Go, how it is undone, and what the kernel must have.
* Command: ` + "`go test ./bench/cli -run FaultsPage -update`" + ` writes this page from the tables that the parser of
suites uses; ` + "`bin/hangbench list faults`" + ` prints them.
* Records: a trial of a declared fault has ` + "[`fault`](schema.md)" + `, which those of the program's own scenarios
lack, as in [` + "`reference/paper`" + `](../reference/paper).

A suite declares a fault under ` + "`faults` and names it under `scenarios`" + `. One word stands for all of them:

` + faultExample("    ") + `
A kernel that lacks the place makes the trial invalid, and the record says what is missing. So does a guest that does
not show the fault by its own counters. Such trials are counted and shown, and never averaged. Before any guest is
started, ` + "`bin/hangbench kernel check FILE --suite SUITE`" + ` says whether a kernel has the places.
`)
	b.WriteString("\n## What can be done\n\n" +
		"| in a suite | does | undo | needs of the kernel | confirmed, or else by the class |\n" +
		"|---|---|---|---|---|\n")
	for _, p := range scenarios.Primitives() {
		fmt.Fprintf(&b, "| `%s: %s` | %s | %s | %s | %s |\n", p.Do, p.Example(), p.Does, p.Undo, p.Needs, p.Confirmed)
	}
	b.WriteString("\n## Arguments\n\nOne that is always the same word is not listed.\n\n| of | arguments |\n|---|---|\n")
	for _, p := range scenarios.Primitives() {
		var all []string
		for _, a := range p.Args {
			if len(a.Words) != 1 {
				all = append(all, fmt.Sprintf("`%s` (%s): %s", a.Name, valuesOf(a), a.Meaning))
			}
		}
		if len(all) > 0 {
			fmt.Fprintf(&b, "| `%s: %s` | %s |\n", p.Do, p.Example(), strings.Join(all, "<br>"))
		}
	}
	b.WriteString(`
## class

The class of the right verdict decides how the guest must show the fault by its own counters. This is the ground truth.
The monitor is not asked.

| class | ground truth | the work must count units |
|---|---|---|
`)
	all := scenarios.Classes()
	for i := 0; i < len(all); {
		c, names := all[i], []string(nil)
		for ; i < len(all) && all[i].Shows == c.Shows; i++ { // classes that show in the same way follow each other
			names = append(names, "`"+all[i].Name+"`")
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.Join(names, ", "), c.Shows, map[bool]string{true: "yes"}[c.ByWork])
	}
	fmt.Fprintf(&b, "\n## work\n\nWhat the guest does from before the fault until after it. A period is %d ms. "+
		"A fault without anything\nbut `work` and `class: none` is a control: the guest does the work, and finishes units "+
		"of it while it is watched.\nIf the kernel lacks what the work needs, the trial is invalid and has the guest's "+
		"reason. `work: exec` runs\na program that the guest has: `exec: [/usr/bin/stress-ng, --fork, 1, --timeout, 1]`. "+
		"The works of a list, as in\n`work: [mounts, opens]`, are done at the same time on the same vCPUs, and "+
		"counted apart: the guest shows the fault if one of the works does."+
		"\n\n",
		beat.Period.Milliseconds())
	b.WriteString("| work | on | a unit | needs of the kernel |\n|---|---|---|---|\n")
	for _, w := range beat.Workloads() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", w, onWhich(w), w.Unit, w.Needs())
	}
	checkPage(t, "faults.md", b.String())
}

// faultExample is a part of a suite that declares two faults.
func faultExample(indent string) string {
	all := scenarios.Primitives()
	find := func(do string) scenarios.Primitive {
		return all[slices.IndexFunc(all, func(p scenarios.Primitive) bool { return p.Do == do })]
	}
	hold, delay := find("hold"), find("delay")
	return fmt.Sprintf(`%[1]sfaults:
%[1]s  - {name: inode-hash, %[2]s: %[3]s, work: inodes, class: spin}
%[1]s  - {name: slow-open, %[4]s: %[5]s, work: opens, class: %[6]s}
%[1]sscenarios: [%[7]s]
`, indent, hold.Do, hold.Example(), delay.Do, delay.Example(), scenarios.NoHang, suites.AllDeclared)
}

// TestFaultsPageParses: the suite on the page of faults can be run.
func TestFaultsPageParses(t *testing.T) {
	t.Parallel()
	text := "name: x\n" + faultExample("") +
		"mechanisms: [poll]\nguests: [{kernel: cloud-6.12, vcpus: 1, memory_mib: 160}]\nrepetitions: 1\n"
	s, err := suites.Parse("x.yaml", []byte(text), vocabulary())
	if err != nil || len(s.Declared) != 2 {
		t.Errorf("%v\n%s", err, text)
	}
}
