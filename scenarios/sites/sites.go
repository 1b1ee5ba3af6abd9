package sites

import (
	"bufio"
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"hangbench/guests/beat"
)

//go:embed data
var data embed.FS

const (
	folder = "data"
	ending = ".txt"
	// first is the first line of a file, with the version of its form.
	first = "hangbench sites 1"
	// mostSites and mostBytes bound a file.
	mostSites = 100_000
	mostBytes = 8 << 20
)

// Kinds of places.
const (
	Function = "function" // that begins with a hook of the function tracer
	Spinlock = "spinlock"
	RWLock   = "rwlock"
	Mutex    = "mutex"
	RWSem    = "rwsem"
)

// Kinds returns the kinds of places.
func Kinds() []string { return []string{Function, Spinlock, RWLock, Mutex, RWSem} }

// Site is a place of a kernel: a function, or a variable that is a lock.
type Site struct {
	Kind  string
	Name  string   // of the symbol
	Works []string // that reach it, in the order of the file's
}

// File is what was recorded of a kernel.
type File struct {
	Kernel  string   // name of the guest kernel, as in cloud-6.12
	Release string   // as uname -r prints it
	Works   []string // that were done
	Sites   []Site   // sorted by kind and name
}

// ErrNone means that nothing was recorded of a kernel.
var ErrNone = errors.New("no sites are recorded")

// Recorded returns the names of the kernels that have a file, sorted.
func Recorded() []string {
	entries, err := fs.ReadDir(data, folder)
	if err != nil {
		panic("sites: embedded folder: " + err.Error()) // cannot happen: it is part of the binary
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ending); ok {
			names = append(names, name)
		}
	}
	return names
}

// Of returns what was recorded of a kernel. The error is ErrNone if that is nothing.
func Of(kernel string) (*File, error) {
	if !slices.Contains(Recorded(), kernel) {
		return nil, fmt.Errorf("kernel %.60q: %w", kernel, ErrNone)
	}
	name := folder + "/" + kernel + ending
	b, err := data.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("sites of %s: %w", kernel, err)
	}
	return Parse(name, b)
}

// letter is how a file writes its work of that number.
func letter(i int) byte { return "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[i] }

// mostWorks is how many works letters can tell apart.
const mostWorks = 52

// Bytes returns the file as text: a head of four lines, and a line for each place with its
// kind, its name, and a letter for each work that reaches it.
func (f *File) Bytes() ([]byte, error) {
	if len(f.Works) > mostWorks {
		return nil, fmt.Errorf("sites of %s: %d works, more than %d", f.Kernel, len(f.Works), mostWorks)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nkernel %s\nrelease %s\nworks", first, f.Kernel, f.Release)
	for i, w := range f.Works {
		fmt.Fprintf(&b, " %c=%s", letter(i), w)
	}
	b.WriteByte('\n')
	for _, s := range f.Sites {
		fmt.Fprintf(&b, "%s %s ", s.Kind, s.Name)
		for i, w := range f.Works {
			if slices.Contains(s.Works, w) {
				b.WriteByte(letter(i))
			}
		}
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// symbol matches names of kernel variables and functions; word those of kernels and works.
var (
	symbol = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,99}$`)
	word   = regexp.MustCompile(`^[A-Za-z0-9_.+~-]{1,100}$`)
)

// Parse reads the text that Bytes writes, and refuses any other. name is used in messages
// only.
func Parse(name string, text []byte) (*File, error) {
	if len(text) > mostBytes {
		return nil, fmt.Errorf("%s: %d bytes, more than %d", name, len(text), mostBytes)
	}
	f := &File{}
	lines, n := bufio.NewScanner(bytes.NewReader(text)), 0
	for lines.Scan() {
		n++
		if err := f.line(n, lines.Text()); err != nil {
			return nil, fmt.Errorf("%s:%d: %w: record it again with hangbench bench sites", name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, n+1, err)
	}
	if n < 4 {
		return nil, fmt.Errorf("%s:%d: the file ends in its head: record it again with hangbench bench sites", name, n)
	}
	return f, nil
}

// line reads line n of a file, from 1.
func (f *File) line(n int, text string) error {
	head := func(key string, to *string) error {
		value, ok := strings.CutPrefix(text, key+" ")
		if !ok || !word.MatchString(value) {
			return fmt.Errorf("%.80q is not of the form %s NAME", text, key)
		}
		*to = value
		return nil
	}
	switch n {
	case 1:
		if text != first {
			return fmt.Errorf("%.80q is not %q", text, first)
		}
		return nil
	case 2:
		return head("kernel", &f.Kernel)
	case 3:
		return head("release", &f.Release)
	case 4:
		return f.works(text)
	}
	s, err := f.site(text)
	if err != nil {
		return err
	}
	if last := len(f.Sites) - 1; last >= 0 && compare(f.Sites[last], s) >= 0 {
		return fmt.Errorf("%s %s does not come behind %s %s", s.Kind, s.Name, f.Sites[last].Kind, f.Sites[last].Name)
	}
	if len(f.Sites) == mostSites {
		return fmt.Errorf("more than %d places", mostSites)
	}
	f.Sites = append(f.Sites, s)
	return nil
}

// works reads the line of works.
func (f *File) works(text string) error {
	all, ok := strings.CutPrefix(text, "works ")
	if !ok {
		return fmt.Errorf("%.80q does not begin with works", text)
	}
	for i, item := range strings.Split(all, " ") {
		if i >= mostWorks {
			return fmt.Errorf("more than %d works", mostWorks)
		}
		name, ok := strings.CutPrefix(item, string(letter(i))+"=")
		if !ok || !word.MatchString(name) || slices.Contains(f.Works, name) {
			return fmt.Errorf("%.80q is not of the form %c=WORK, or stands there twice", item, letter(i))
		}
		f.Works = append(f.Works, name)
	}
	return nil
}

// site reads the line of a place.
func (f *File) site(text string) (Site, error) {
	words := strings.Split(text, " ")
	if len(words) != 3 || !slices.Contains(Kinds(), words[0]) || !symbol.MatchString(words[1]) || words[2] == "" {
		return Site{}, fmt.Errorf("%.80q is not of the form KIND SYMBOL WORKS, with a kind of %s", text,
			strings.Join(Kinds(), ", "))
	}
	s, rest := Site{Kind: words[0], Name: words[1]}, words[2]
	for i, w := range f.Works {
		if rest != "" && rest[0] == letter(i) {
			s.Works, rest = append(s.Works, w), rest[1:]
		}
	}
	if rest != "" {
		return Site{}, fmt.Errorf("%.80q has letters that no work has, or in another order", words[2])
	}
	return s, nil
}

// Sort sorts the places as a file has them.
func (f *File) Sort() { slices.SortFunc(f.Sites, compare) }

// compare orders places by kind and name.
func compare(a, b Site) int {
	return cmp.Or(cmp.Compare(slices.Index(Kinds(), a.Kind), slices.Index(Kinds(), b.Kind)), cmp.Compare(a.Name, b.Name))
}

// reaches reports whether a work reaches the place.
func (s *Site) reaches(w beat.Workload) bool { return slices.Contains(s.Works, w.Name) }
