package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hangbench/analysis"
	"hangbench/bench/exit"
	"hangbench/results"
)

// TestSchema: the schema pages say of every field what the types and their comments in
// package results say, and of every column of the CSV file what the metrics say. With
// -update the pages are written anew. A field without a comment is an error.
func TestSchema(t *testing.T) {
	t.Parallel()
	src := readSource(t, filepath.Join("..", "..", "results"))
	trials, manifest := newSchema(src), newSchema(src)
	trials.add("", reflect.TypeFor[results.Trial]())
	manifest.add("", reflect.TypeFor[results.Manifest]())
	for _, p := range append(trials.problems, manifest.problems...) {
		t.Error(p)
	}
	head := `# %s

* Shows: %s
* Command: ` + "`go test ./bench/cli -run Schema -update`" + ` writes this page from the types and their comments.
* Records: %s

`
	const optional = "A field whose type is followed by a question mark may be absent."
	pages := map[string]string{
		"schema.md": fmt.Sprintf(head, "Fields of trials.jsonl", "what each field of a trial's record means.",
			"[`reference/paper`](../reference/paper) has some, one a line.") +
			optional + " Each line is one JSON object.\n\n" +
			"Records of earlier programs have `baselines` in place of `watchdogs` and `findings`, and neither\n" +
			"`kind` nor `kernel`. " +
			"Reading them fills these fields in (`results/legacy.go`). The objects in a record have\n" +
			"[a page of their own](schema-objects.md).\n\n" +
			"A line of `trials.sum` is the index of a trial, the CRC-32C of its line in trials.jsonl without the newline,\n" +
			"and the CRC-32C of both so far, each in eight hexadecimal digits. Runs of earlier programs have no such file.\n" +
			trials.page(trials.objects[:1]),
		"schema-objects.md": fmt.Sprintf(head, "Objects in trials.jsonl",
			"what each field of the objects in a trial's record means.",
			"[`reference/paper`](../reference/paper) has some.") + optional +
			" A heading is the\npath of the object in [the record](schema.md).\n" +
			trials.page(trials.objects[1:]),
		"schema-manifest.md": fmt.Sprintf(head, "Fields of manifest.json", "what each field of a run's manifest means.",
			"[`reference/paper`](../reference/paper) has one.") + optional + "\n" + manifest.page(manifest.objects),
		"schema-csv.md": fmt.Sprintf(head, "Columns of the CSV file",
			"what each column of `bin/hangbench report RUN --format csv` means.",
			"[`reference/soak`](../reference/soak), whose columns these are.") + columnsPage(t, trials),
	}
	for name, want := range pages {
		checkPage(t, name, want)
	}
}

// TestSchemaOfRecords: every field of the committed runs is on the schema pages, but for
// those that reading replaces.
func TestSchemaOfRecords(t *testing.T) {
	t.Parallel()
	src := readSource(t, filepath.Join("..", "..", "results"))
	trials, manifest := newSchema(src), newSchema(src)
	trials.add("", reflect.TypeFor[results.Trial]())
	manifest.add("", reflect.TypeFor[results.Manifest]())
	root := filepath.Join("..", "..", "results", "reference")
	read := 0
	for file, s := range map[string]*schema{results.TrialsFile: trials, results.ManifestFile: manifest} {
		paths, err := filepath.Glob(filepath.Join(root, "*", file))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%d files %s, %v", len(paths), file, err)
		}
		for _, path := range paths {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for dec := json.NewDecoder(f); dec.More(); read++ {
				var record map[string]any
				if err := dec.Decode(&record); err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				delete(record, "baselines")
				for name, value := range record {
					s.check(t, path, "", name, value)
				}
			}
		}
	}
	if read < 500 {
		t.Errorf("only %d records were read", read)
	}
}

// source has the comments of a package's types, by type and field.
type source struct {
	types  map[string]string            // type name to comment
	fields map[string]map[string]string // type and field name to comment
	values map[string][][2]string       // type name to its constants: value and comment
}

// readSource parses the Go files of a package, tests apart.
func readSource(t *testing.T, dir string) *source {
	t.Helper()
	s := &source{make(map[string]string), make(map[string]map[string]string), make(map[string][][2]string)}
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				for _, spec := range g.Specs {
					s.read(g, spec)
				}
			}
		}
	}
	return s
}

func (s *source) read(g *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		kind, ok := spec.Type.(*ast.Ident)
		if !ok || g.Tok != token.CONST || len(spec.Values) != 1 {
			return
		}
		value, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || value.Kind != token.STRING {
			return
		}
		if text, err := strconv.Unquote(value.Value); err == nil {
			s.values[kind.Name] = append(s.values[kind.Name], [2]string{text, said(spec.Doc, spec.Comment)})
		}
	case *ast.TypeSpec:
		s.types[spec.Name.Name] = said(g.Doc, spec.Doc)
		of, ok := spec.Type.(*ast.StructType)
		if !ok {
			return
		}
		fields := make(map[string]string)
		s.fields[spec.Name.Name] = fields
		group, first := "", ""
		for _, f := range of.Fields.List {
			own := said(f.Doc, f.Comment)
			if f.Doc != nil {
				group = said(f.Doc)
			}
			for _, name := range f.Names {
				// One comment may speak of several fields: it stands at the first.
				if own == "" && first != "" && regexp.MustCompile(`\b`+name.Name+`\b`).MatchString(group) {
					fields[name.Name] = "See " + first + "."
					continue
				}
				if f.Doc != nil {
					first = name.Name
				}
				fields[name.Name] = own
			}
		}
	}
}

// said is the text of comments on one line, each of which ends in a full stop.
func said(groups ...*ast.CommentGroup) string {
	var all []string
	for _, g := range groups {
		if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
			all = append(all, strings.TrimSuffix(text, ".")+".")
		}
	}
	return strings.Join(all, " ")
}

// A field is a row of a schema page.
type field struct{ name, kind, unit, meaning string }

// A schema has the fields of a JSON object and of the objects in it.
type schema struct {
	src      *source
	objects  []string                // paths of the objects, in order
	fields   map[string][]field      // path of an object to its fields
	comments map[string]string       // path of an object to the comment of its type
	at       map[reflect.Type]string // type of an object to its first path
	problems []string
}

func newSchema(src *source) *schema {
	return &schema{
		src: src, fields: make(map[string][]field), comments: make(map[string]string),
		at: make(map[reflect.Type]string),
	}
}

// add adds the fields of a struct, which stands at path.
func (s *schema) add(path string, of reflect.Type) {
	s.objects = append(s.objects, path)
	s.comments[path] = s.inJSON(of, s.src.types[of.Name()])
	s.addFields(path, of)
}

func (s *schema) addFields(path string, of reflect.Type) {
	var inside []func()
	for i := range of.NumField() {
		f := of.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			s.addFields(path, f.Type)
			continue
		}
		if name == "" || !f.IsExported() {
			s.problems = append(s.problems, fmt.Sprintf("%s.%s has no name in JSON", of.Name(), f.Name))
			continue
		}
		kind, object := jsonType(f.Type)
		if options != "" || f.Type.Kind() == reflect.Pointer {
			kind += "?"
		}
		meaning := s.inJSON(of, s.src.fields[of.Name()][f.Name])
		if meaning == "" && object == nil {
			s.problems = append(s.problems, fmt.Sprintf("%s.%s has no comment", of.Name(), f.Name))
		}
		if object != nil {
			below := strings.TrimPrefix(path+"."+name, ".")
			first, again := s.at[object]
			if again {
				inside = append(inside, func() { s.fields[below] = s.fields[first] })
			} else {
				first, s.at[object] = below, below
				inside = append(inside, func() { s.add(below, object) })
			}
			meaning = strings.TrimSpace(meaning + " See `" + first + "`.")
		}
		var values []string
		for _, v := range s.src.values[f.Type.Name()] {
			values = append(values, fmt.Sprintf("`%s` (%s)", v[0], s.inJSON(of, strings.TrimSuffix(v[1], "."))))
		}
		if values != nil {
			meaning = strings.TrimSpace(meaning + " One of " + strings.Join(values, ", ") + ".")
		}
		s.fields[path] = append(s.fields[path], field{name, kind, unitOf(name), meaning})
	}
	for _, add := range inside {
		add()
	}
}

// inJSON puts the names that fields have in JSON in place of those in Go.
func (s *schema) inJSON(of reflect.Type, comment string) string {
	for _, f := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && f.Type.Kind() != reflect.Struct && f.Name != of.Name() {
			comment = regexp.MustCompile(`\b`+f.Name+`\b`).ReplaceAllString(comment, "`"+name+"`")
		}
	}
	return regexp.MustCompile(`\[(\w+)\]`).ReplaceAllString(comment, "`$1`")
}

// jsonType names the type of a value in JSON. object is the struct that is an object
// there, if any.
func jsonType(of reflect.Type) (name string, object reflect.Type) {
	switch of {
	case reflect.TypeFor[time.Time]():
		return "time (RFC 3339)", nil
	case reflect.TypeFor[results.Settings]():
		return "object of integers", nil
	case reflect.TypeFor[results.Declared]():
		return "object", reflect.TypeFor[results.Declaration]()
	}
	switch of.Kind() {
	case reflect.Pointer:
		return jsonType(of.Elem())
	case reflect.Struct:
		return "object", of
	case reflect.Slice:
		name, object = jsonType(of.Elem())
		return "list of " + name + "s", object
	case reflect.Map:
		name, object = jsonType(of.Elem())
		return "object of " + name + "s", object
	case reflect.Bool:
		return "boolean", nil
	case reflect.Float64:
		return "number", nil
	case reflect.String:
		return "string", nil
	}
	return "integer", nil
}

// unitOf is the unit that the name of a field ends in.
func unitOf(name string) string {
	for _, u := range [][2]string{{"ns", "ns"}, {"ms", "ms"}, {"sec", "s"}, {"mib", "MiB"}} {
		if name == u[0] || strings.HasSuffix(name, "_"+u[0]) {
			return u[1]
		}
	}
	return ""
}

// page is the schema of some of the objects as Markdown, one table for each.
func (s *schema) page(objects []string) string {
	var b strings.Builder
	for _, path := range objects {
		title := "The object itself"
		if path != "" {
			title = "`" + path + "`"
		}
		fmt.Fprintf(&b, "\n## %s\n\n", title)
		b.WriteString(s.comments[path] + "\n\n| field | type | unit | meaning |\n|---|---|---|---|\n")
		for _, f := range s.fields[path] {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, f.unit, f.meaning)
		}
	}
	return b.String()
}

// check reports fields of a record that the schema lacks.
func (s *schema) check(t *testing.T, file, path, name string, value any) {
	i := slices.IndexFunc(s.fields[path], func(f field) bool { return f.name == name })
	if i < 0 {
		t.Errorf("%s has the field %s of %q, which the schema page lacks", file, name, path)
		return
	}
	below := strings.TrimPrefix(path+"."+name, ".")
	if s.fields[below] == nil {
		return
	}
	objects := []any{value}
	switch of := value.(type) {
	case []any:
		objects = of
	case map[string]any:
		if strings.HasPrefix(s.fields[path][i].kind, "object of ") {
			objects = nil
			for _, v := range of {
				objects = append(objects, v)
			}
		}
	}
	for _, o := range objects {
		of, ok := o.(map[string]any)
		if !ok {
			t.Errorf("%s: %s is not an object", file, below)
			continue
		}
		for name, value := range of {
			s.check(t, file, below, name, value)
		}
	}
}

// columnMeanings are the columns of the CSV file that are neither a field of a record nor
// a metric.
var columnMeanings = map[string]string{
	"kind":           "`fault` or `control`; a measured workload is a control",
	"n":              "valid trials",
	"invalid":        "trials whose ground truth was not confirmed; they count in no other column",
	"detected":       "trials with a verdict on their fault",
	"missed":         "trials with a fault and no verdict before the deadline",
	"false_alarms":   "trials with a verdict without a fault, or before it",
	"undone":         "trials whose fault was over before any verdict",
	"clean":          "trials without a fault and without a verdict",
	"recovered":      "trials whose guest went on after its fault was removed",
	"recovery_tried": "trials whose fault can be removed, and was",
	"rate_of":        "the column that `rate` counts: `detected` for faults, `false_alarms` for controls",
	"rate":           "the column named by `rate_of`, divided by `n`",
	"rate_ci_lo":     "lower end of the exact 95% interval (Clopper and Pearson) of `rate`",
	"rate_ci_hi":     "upper end of the same interval",
	"class":          "the classes of the verdicts",
}

// partMeanings are the columns that each metric has, by the end of their names.
var partMeanings = [][2]string{
	{"_n", "valid trials that have a value"},
	{"_median", "median of the values"},
	{"_min", "smallest value"},
	{"_max", "largest value"},
	{"_ci_lo", "lower end of the median's order-statistic interval; empty with too few trials"},
	{"_ci_hi", "upper end of the same interval"},
	{"_ci_confidence", "confidence of the interval, 0.95 or more"},
}

// observerMeanings are the columns of each observer, by the end of their names.
var observerMeanings = [][2]string{
	{"_armed", "trials in which the observer was there and on"},
	{"_detected", "trials in which it reported the fault"},
	{"_false_alarms", "reports without a fault, or before it"},
}

// columnsPage is the text about the columns of the CSV file that a committed run with
// observers gives.
func columnsPage(t *testing.T, trials *schema) string {
	t.Helper()
	run := filepath.Join("..", "..", "results", "reference", "soak")
	status, stdout, stderr := hangbench(t, "report", run, "--format", "csv")
	if status != exit.Done || stderr != "" {
		t.Fatalf("report --format csv: status %d, %s", status, stderr)
	}
	head, err := csv.NewReader(strings.NewReader(stdout)).Read()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("The file has one row for each cell, that is for all trials with equal factors. An empty field\n" +
		"means that there is no value, as of the rates without a monitor. " +
		"Trials without a value are left out of a metric, not counted as 0.\n\n## The cell and its outcomes\n\n" +
		"| column | unit | meaning |\n|---|---|---|\n")
	metrics := make(map[string]analysis.Metric)
	for _, m := range analysis.Metrics() {
		if m.Column != "" {
			metrics[m.Column] = m
		}
	}
	var shown []string
	observers := 0
	for _, column := range head {
		if strings.HasPrefix(column, "baseline_") {
			observers++
			continue
		}
		if base, ok := strings.CutSuffix(column, "_n"); ok && metrics[base].Column != "" {
			shown = append(shown, base)
			continue
		}
		if slices.ContainsFunc(shown, func(m string) bool { return isPart(column, m) }) {
			continue
		}
		meaning := columnMeanings[column]
		if meaning == "" {
			for _, f := range trials.fields[""] {
				if f.name == column {
					meaning = f.meaning
				}
			}
		}
		if meaning == "" {
			t.Errorf("nothing says what column %s means", column)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", column, unitOf(column), meaning)
	}
	parts := func(of [][2]string) {
		b.WriteString("\n| ending | meaning |\n|---|---|\n")
		for _, p := range of {
			fmt.Fprintf(&b, "| `%s` | %s |\n", p[0], p[1])
		}
	}
	b.WriteString("\n## Metrics\n\nEach metric has seven columns, which begin with its name and end in:\n")
	parts(partMeanings)
	b.WriteString("\n| name | unit | meaning |\n|---|---|---|\n")
	for _, name := range shown {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, metrics[name].Unit, metrics[name].Meaning)
	}
	if observers == 0 || len(shown) != len(metrics) {
		t.Errorf("%d columns of observers, %d of %d metrics", observers, len(shown), len(metrics))
	}
	example := analysis.FindingTime("NAME")
	fmt.Fprintf(&b, "\n## Observers\n\n"+
		"If a run has observers (the guest's own watchdogs, external monitors), each has the "+
		"seven columns of a metric `%s`, in %s: %s. Three more columns begin with `baseline_NAME` and end in:\n",
		example.Column, example.Unit, example.Meaning)
	parts(observerMeanings)
	return b.String()
}

// isPart reports whether a column belongs to a metric.
func isPart(column, metric string) bool {
	return slices.ContainsFunc(partMeanings, func(p [2]string) bool { return column == metric+p[0] })
}
