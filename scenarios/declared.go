package scenarios

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hangbench/guests/beat"
	"hangbench/results"
	"hangbench/scenarios/sign"
)

// longest bounds how long a control is disturbed.
const longest = time.Minute

// NoHang is the class of a declared fault that hangs nothing: a control, which is
// disturbed for some seconds.
const NoHang = "none"

// afterwards is how long a control is watched as disturbed after the end of what ends by
// itself: the guest may be late by a heartbeat or two.
const afterwards = 2 * beat.Period

// NotKnown is the class of a declared fault whose effect nobody knows before. The guest's
// own evidence says what becomes of it (package outcome).
const NotKnown = "unknown"

// MostSeconds is for how long a guest can be disturbed at most, in seconds.
const MostSeconds = 600

// Class is a class that a declared fault may have.
type Class struct {
	Name  string
	Shows string // how the guest's own counters must show the fault
	// ByWork: it shows by the work, which must count units.
	ByWork bool
	sign   sign.Sign
}

// Classes returns the classes of declared faults.
func Classes() []Class {
	const (
		silent = "the heartbeat of a vCPU or more stops"
		stuck  = "no unit of the work is finished any more"
		slow   = "the work falls below a tenth of its pace"
	)
	of := sign.Silent{VCPUs: sign.Some}
	return []Class{
		{"spin", silent, false, of},
		{"hard", silent, false, of},
		{"soft", silent, false, of},
		{"stopped", silent, false, of},
		{"starvation", silent, false, of},
		{"blocked", stuck, true, sign.Stuck{}},
		{"io", stuck, true, sign.Stuck{}},
		{"forkstorm", slow, true, sign.Slow{}},
		{"thrash", slow, true, sign.Slow{}},
		{"panic", "the guest ends, and its heartbeat stops", false, sign.Ended{}},
		{NoHang, "the work falls below half its pace while the guest is disturbed, or the effect is confirmed otherwise; " +
			"if nothing is done but the work, it goes on; the kernel counts an oops", true, sign.Slow{}},
		{NotKnown, "nobody knows before: its record says what became of the guest, by heartbeats, work, small " +
			"processes beside it and PID 1", false, nil},
	}
}

// Mistake is what is wrong with a declaration.
type Mistake struct {
	Key  string // name, do, work, class, final, or the name of an argument
	Says string // a clause with the value and the remedy
}

// namePattern matches names of declared faults.
var namePattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Mistakes returns what is wrong with a declared fault. A record may come from anywhere,
// so Mistakes asks for everything that a suite must keep to.
func Mistakes(name string, d results.Declaration) []Mistake {
	var all []Mistake
	add := func(key, format string, of ...any) { all = append(all, Mistake{key, fmt.Sprintf(format, of...)}) }
	if !namePattern.MatchString(name) || len(name) > 100 {
		add("name", "name %.60q: use up to 100 lower-case letters, digits and single dashes", name)
	} else if _, err := Find(name); err == nil {
		add("name", "name %q is that of a scenario of the program's own: choose another", name)
	}
	p, wrong := find(d.Do, d.Args)
	w, known := beat.FindWorkload(d.Work)
	if !known {
		if n := len(beat.Parts(d.Work)); n > 1 {
			add("work", "works %.60q: name up to %d works, each once and none of them idle: valid are %s", d.Work, beat.MaxWorks,
				strings.Join(works(), ", "))
		} else {
			add("work", "work %.60q is unknown: valid are %s", d.Work, strings.Join(works(), ", "))
		}
	}
	if says := wrongExec(d); says != "" {
		add("exec", "%s", says)
	}
	classes := Classes()
	if i := slices.IndexFunc(classes, func(c Class) bool { return c.Name == d.Class }); i < 0 {
		add("class", "class %.60q is unknown: valid are %s", d.Class, strings.Join(classNames(), ", "))
	} else if c := classes[i]; c.ByWork && known && !w.Works() && !(c.Name == NoHang && p.Confirmed != "") {
		add("work", "work is %s and class is %s, which shows by the work: name a work that counts units", w, c.Name)
	}
	if d.Do == "" && d.Class == NoHang && len(d.Args) == 0 { // the work is the control
		if d.Final {
			add("final", "final is true and class is %s: a control must go on, remove final", NoHang)
		}
		if d.Seconds != 0 {
			add("seconds", "seconds is %d and nothing is done but the work: remove seconds", d.Seconds)
		}
		return all
	}
	switch {
	case p.Departs && d.Class != NoHang:
		add("class", "%s takes the guest away and class is %.60q: write %s", d.Do, d.Class, NoHang)
	case p.Final && d.Class == NoHang:
		add("class", "%s cannot be removed and class is %s: a control must go on, name another class", d.Do, NoHang)
	case (p.Final || p.leaves && d.Class != NoHang) && !d.Final:
		add("final", "%s cannot be removed: add final: true", d.Do)
	case d.Class == "panic" && !d.Final:
		add("final", "class is panic, and a guest that has ended does not come back: add final: true")
	case d.Class == NoHang && d.Final:
		add("final", "final is true and class is %s: a control must go on, remove final", NoHang)
	}
	switch {
	case d.Seconds != 0 && d.Class != NoHang:
		add("seconds", "seconds is %d and class is %.60q: a fault lasts until the verdict or for bounded_ms, remove seconds",
			d.Seconds, d.Class)
	case d.Seconds < 0 || d.Seconds > MostSeconds:
		add("seconds", "seconds is %d: use 1 to %d", d.Seconds, MostSeconds)
	}
	if wrong != nil {
		return append(all, *wrong)
	}
	whole, wrongs := p.complete(d.Args)
	all = append(all, wrongs...)
	if len(wrongs) == 0 && p.ends(whole) > 0 && d.Class != NoHang {
		add("class", "what %s does ends by itself, and class is %.60s: write class: %s", d.Do, d.Class, NoHang)
	}
	if len(wrongs) == 0 && p.check != nil {
		if key, says := p.check(whole); says != "" {
			add(key, "%s", says)
		}
	}
	return all
}

// wrongExec says in a clause what is wrong with the program of a declaration, and "" if
// nothing is.
func wrongExec(d results.Declaration) string {
	runs := slices.Contains(beat.Parts(d.Work), beat.Exec.Name)
	switch {
	case runs && len(d.Exec) == 0:
		return "work is exec and no program is named: add exec: [/usr/bin/program, argument]"
	case !runs && len(d.Exec) > 0:
		return fmt.Sprintf("exec names a program and work is %.60q: write work: exec", d.Work)
	case runs && !path.IsAbs(d.Exec[0]):
		return fmt.Sprintf("exec begins with %.60q: write the whole path of the program in the guest, as in /usr/bin/program",
			d.Exec[0])
	case !beat.Fits(d.Exec):
		return fmt.Sprintf("exec has more than %d characters, or an empty word: write a shorter command", beat.MostCommand)
	}
	return ""
}

// find returns the primitive with a key that has these arguments.
func find(do string, given map[string]string) (Primitive, *Mistake) {
	var of []Primitive
	var first, named []string // arguments that tell the primitives apart, and those of them that are given
	for _, p := range Primitives() {
		if p.Do != do {
			continue
		}
		of = append(of, p)
		name := p.Args[0].Name
		if slices.Contains(first, name) {
			continue
		}
		first = append(first, name)
		if _, ok := given[name]; ok {
			named = append(named, name)
		}
	}
	switch {
	case len(of) == 0:
		return Primitive{}, &Mistake{"do", fmt.Sprintf("it does %.60q, which is unknown: valid are %s", do,
			strings.Join(Doings(), ", "))}
	case len(named) > 1:
		return Primitive{}, &Mistake{named[1], fmt.Sprintf("%s names %s and %s: declare two faults", do, named[0], named[1])}
	case len(named) == 1:
		return findWord(of, named[0], given[named[0]])
	case len(first) == 1:
		return of[0], nil
	}
	return Primitive{}, &Mistake{"do", fmt.Sprintf("%s has none of %s: add one", do, strings.Join(first, ", "))}
}

// ends returns after which time what the primitive does ends by itself, and 0 if it does
// not.
func (p Primitive) ends(whole args) time.Duration {
	if p.lasts == nil {
		return 0
	}
	return p.lasts(whole)
}

// findWord returns the primitive whose first argument has a name. If several have it, the
// argument is a word that tells which.
func findWord(of []Primitive, name, word string) (Primitive, *Mistake) {
	var words []string
	of = slices.DeleteFunc(of, func(p Primitive) bool { return p.Args[0].Name != name })
	for _, p := range of {
		if len(of) == 1 || slices.Contains(p.Args[0].Words, word) {
			return p, nil
		}
		words = append(words, p.Args[0].Words...)
	}
	return Primitive{}, &Mistake{name, Arg{Name: name, Words: words}.wrong(word)}
}

// complete returns the arguments with those that have their default, and what is wrong
// with them.
func (p Primitive) complete(given map[string]string) (args, []Mistake) {
	var wrong []Mistake
	whole := make(args)
	for _, a := range p.Args {
		value, ok := given[a.Name]
		switch {
		case ok:
			if says := a.wrong(value); says != "" {
				wrong = append(wrong, Mistake{a.Name, says})
			}
			whole[a.Name] = value
		case a.Default == "":
			says := fmt.Sprintf("%s has no %s: add it, as in %s: %s", p.Do, a.Name, a.Name, a.Example)
			wrong = append(wrong, Mistake{"do", says})
		default:
			whole[a.Name] = a.Default
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.ContainsFunc(p.Args, func(a Arg) bool { return a.Name == name }) {
			var valid []string
			for _, a := range p.Args {
				valid = append(valid, a.Name)
			}
			wrong = append(wrong, Mistake{name, fmt.Sprintf("%s has no %.60q: valid are %s", p.Do, name,
				strings.Join(valid, ", "))})
		}
	}
	return whole, wrong
}

// wrong says in a clause what is wrong with a value, and "" if nothing is.
func (a Arg) wrong(value string) string {
	switch {
	case a.Words != nil:
		if !slices.Contains(a.Words, value) {
			return fmt.Sprintf("%s is %.60q: write %s", a.Name, value, strings.Join(a.Words, " or "))
		}
	case a.Min != 0 || a.Max != 0:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < a.Min || n > a.Max || strconv.FormatInt(n, 10) != value {
			return fmt.Sprintf("%s is %.60q: write a whole number from %d to %d without a unit or a leading zero", a.Name,
				value, a.Min, a.Max)
		}
	case !symbolPattern.MatchString(value):
		return fmt.Sprintf("%s is %.60q: write the name of a symbol of the kernel, as in %s", a.Name, value, a.Example)
	}
	return ""
}

// Declare makes a scenario of a declared fault. The error joins every mistake.
func Declare(name string, d results.Declaration) (Scenario, error) {
	if wrong := Mistakes(name, d); len(wrong) > 0 {
		errs := make([]error, len(wrong))
		for i, m := range wrong {
			errs[i] = fmt.Errorf("fault %.100q: %s", name, m.Says)
		}
		return Scenario{}, errors.Join(errs...)
	}
	w, _ := beat.FindWorkload(d.Work)
	if d.Do == "" {
		return Scenario{ID: name, Summary: describe(d), Workload: w, Exec: d.Exec, ByWork: true}, nil
	}
	p, _ := find(d.Do, d.Args)
	whole, _ := p.complete(d.Args)
	classes := Classes()
	c := classes[slices.IndexFunc(classes, func(c Class) bool { return c.Name == d.Class })]
	s := Scenario{ID: name, Summary: describe(d), Workload: w, Exec: d.Exec, Sign: c.sign}
	if p.vcpus != nil {
		s.MinVCPUs = p.vcpus(whole)
	}
	if c.Name == NoHang {
		s.Disturb, s.Disturbed = p.make(whole, w), long
		if p.leaves || p.Confirmed != "" { // the injector has confirmed the effect, which the work need not show
			s.Sign = nil
		}
		if d.Seconds > 0 {
			s.Disturbed = time.Duration(d.Seconds) * time.Second
		}
		if d := p.ends(whole); d > 0 {
			s.Disturbed = d + afterwards
		}
		if p.atLeast != nil {
			s.Disturbed = max(s.Disturbed, min(p.atLeast(whole), longest))
		}
		return s, nil
	}
	s.Class, s.Final, s.Fault = c.Name, d.Final, p.make(whole, w)
	return s, nil
}

// describe says a declaration in a line, as a suite does.
func describe(d results.Declaration) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(d.Args)) {
		parts = append(parts, name+": "+d.Args[name])
	}
	work := d.Work
	if parts := beat.Parts(work); len(parts) > 1 {
		work = "[" + strings.Join(parts, ", ") + "]"
	}
	text := fmt.Sprintf("work: %s, class: %s", work, d.Class)
	if len(d.Exec) > 0 {
		text = fmt.Sprintf("exec: [%s], %s", strings.Join(d.Exec, ", "), text)
	}
	if d.Do != "" {
		text = fmt.Sprintf("%s: {%s}, %s", d.Do, strings.Join(parts, ", "), text)
	}
	if d.Final {
		text += ", final: true"
	}
	if d.Seconds > 0 {
		text += fmt.Sprintf(", seconds: %d", d.Seconds)
	}
	return text
}

// Plain returns the declaration without what has its default, so that a fault that is
// written in two ways is one fault. The declaration has no mistake.
func Plain(d results.Declaration) results.Declaration {
	p, _ := find(d.Do, d.Args)
	d.Args = maps.Clone(d.Args)
	if time.Duration(d.Seconds)*time.Second == long {
		d.Seconds = 0
	}
	for _, a := range p.Args {
		if a.Default != "" && d.Args[a.Name] == a.Default {
			delete(d.Args, a.Name)
		}
	}
	return d
}

// OfCell returns the scenario of a cell: the fault that the suite declares, or the
// program's own scenario of that name.
func OfCell(c results.Cell) (Scenario, error) {
	if c.Declared == "" {
		return Find(c.Scenario)
	}
	d, err := c.Declared.Declaration()
	if err != nil {
		return Scenario{}, err
	}
	return Declare(c.Scenario, d)
}

// works returns the names of the workloads of PID 1.
func works() []string {
	var all []string
	for _, w := range beat.Workloads() {
		all = append(all, w.Name)
	}
	return all
}

// classNames returns the names of the classes.
func classNames() []string {
	var all []string
	for _, c := range Classes() {
		all = append(all, c.Name)
	}
	return all
}
