package results

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestDeclared: equal declarations are equal texts, however a file writes them, and a
// record without one is written as before.
func TestDeclared(t *testing.T) {
	t.Parallel()
	const text = `{"do":"delay","args":{"function":"do_filp_open","ms":"1500"},"work":"opens","class":"none"}`
	var c Cell
	if err := json.Unmarshal([]byte(`{"fault": {"class": "none", "work": "opens", "final": false,
		"args": {"ms": "1500", "function": "do_filp_open"}, "do": "delay"}}`), &c); err != nil || c.Declared != text {
		t.Fatalf("read as %s: %v", c.Declared, err)
	}
	if b, err := json.Marshal(c); err != nil || !strings.HasSuffix(string(b), `,"fault":`+text+`}`) {
		t.Errorf("written as %s: %v", b, err)
	}
	d, err := c.Declared.Declaration()
	if err != nil || d.Do != "delay" || d.Args["ms"] != "1500" || d.Work != "opens" || d.Class != "none" || d.Final {
		t.Errorf("%+v: %v", d, err)
	}
	d.Final = true
	if again, err := d.Text(); err != nil || string(again) != text[:len(text)-1]+`,"final":true}` {
		t.Errorf("%s: %v", again, err)
	}
	if b, err := json.Marshal(Cell{}); err != nil || strings.Contains(string(b), "fault") {
		t.Errorf("a cell without a fault is written as %s: %v", b, err)
	}
	var none struct{ Fault Declared }
	if err := json.Unmarshal([]byte(`{"Fault": null}`), &none); err != nil || none.Fault != "" {
		t.Errorf("null is read as %q: %v", none.Fault, err)
	}
}

// TestDeclaredRefuses: a record with a fault that no suite can declare is refused.
func TestDeclaredRefuses(t *testing.T) {
	t.Parallel()
	with := func(args string) string { return `{"do":"hold","args":{` + args + `},"work":"idle","class":"spin"}` }
	many := strings.Repeat(`"a1234":"x",`, mostArgs)
	for i := range mostArgs {
		many = strings.Replace(many, "1234", string(rune('a'+i)), 1)
	}
	for text, want := range map[string]string{
		`{}`:                            `"" is no name`,
		`[]`:                            "cannot unmarshal array",
		with(`"spinlock":7`):            "cannot unmarshal number",
		with(`"spinlock":"a b"`):        `"a b" is no name and no number`,
		with(`"":"a"`):                  `"" is no name`,
		with(`"spinlock":"\u001b[2J"`):  "is no name",
		with(many + `"spinlock":"x"`):   "21 arguments, more than 20",
		`{"do":"hold","where":"here"}`:  `unknown field "where"`,
		with(strings.Repeat(" ", 4096)): "more than 4096",
		with(`"b":"` + strings.Repeat("x", 101) + `"`): "is no name",
	} {
		var d Declared
		if err := json.Unmarshal([]byte(text), &d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200s: %v, want %q", text, err, want)
		}
	}
	// A text that was not made by Text is in no record.
	for _, text := range []Declared{"x", "null", `{"do":"hold"}`, Declared(with(` "spinlock":"a"`)), `{}`} {
		tr := filled(Fault)
		tr.Declared = text
		if err := tr.Validate(); err == nil || !strings.Contains(err.Error(), "fault: ") {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := json.Marshal(tr); err == nil {
			t.Errorf("%s was written", text)
		}
	}
}

// FuzzDeclared: what is read is a declaration, is the same when it is written and read
// again, and has no character that a terminal or a document acts on.
func FuzzDeclared(f *testing.F) {
	f.Add([]byte(`{"do":"hold","args":{"spinlock":"inode_hash_lock"},"work":"inodes","class":"spin"}`))
	f.Add([]byte(`{"final":true,"do":"skip","args":{"returns":"-5","function":"f"},"work":"idle","class":"panic"}`))
	f.Add([]byte(`{"do":"a","do":"b","args":{"a":"1","a":"2"},"work":"c","class":"d"} `))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d Declared
		if json.Unmarshal(data, &d) != nil || d == "" {
			return
		}
		if len(d) > mostDeclared || strings.Trim(string(d), `{}",:abcdefghijklmnopqrstuvwxyz`+
			`ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-`) != "" {
			t.Errorf("%q is taken for a declaration", d)
		}
		b, err := json.Marshal(d)
		var again Declared
		if err != nil || json.Unmarshal(b, &again) != nil || again != d {
			t.Errorf("%s is %s when it is read again: %v", d, again, err)
		}
	})
}
