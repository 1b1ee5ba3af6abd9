package price

import (
	"strings"
	"testing"
)

// FuzzYardstick: whatever a C loop prints, its result is read or is an error, and every
// turn has its four instants.
func FuzzYardstick(f *testing.F) {
	f.Add(`{"mode":"exec-step","events":1000,"stamps":[[10,20,30,40],[50,60,70,80]]}` + "\n")
	f.Add(`{"events":18446744073709551615,"stamps":null}`)
	f.Add(`{"events":1,"stamps":[[1]]}`)
	f.Fuzz(func(t *testing.T, text string) {
		res, err := readResult(strings.NewReader(text))
		if err != nil {
			if res.Events != 0 || res.Stamps != nil {
				t.Errorf("%+v with %v", res, err)
			}
			return
		}
		q := process{result: res}
		all := q.stamps()
		if len(all) != 4*len(res.Stamps) {
			t.Fatalf("%d instants of %d turns", len(all), len(res.Stamps))
		}
		for i, s := range res.Stamps {
			if all[4*i].TSC != s[0] || all[4*i+2].TSC != s[1] || all[4*i+3].TSC != s[2] {
				t.Errorf("turn %d, %v: %+v", i, s, all[4*i:4*i+4])
			}
		}
	})
}
