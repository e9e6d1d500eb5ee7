// Command oracle fills in what Go makes of our cases.
//
// It reads cases, one JSON object a line, and prints them with "want" (the output) or "error" (the message) as the Go
// packages text/template and html/template give them, with the functions of Alertmanager and Prometheus. README.md says how to run it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log"
	"net/url"
	"os"
	"time"

	alertmanager "github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	prometheus "github.com/prometheus/prometheus/template"
)

type testCase struct {
	Name  string `json:"name,omitempty"`
	Data  string `json:"data"`
	Mode  string `json:"mode,omitempty"`
	Text  string `json:"text"`
	Hash  bool   `json:"hash,omitempty"`
	Want  string `json:"want,omitempty"`
	Error string `json:"error,omitempty"`
}

type ruleData struct {
	Labels         map[string]string   `json:"labels"`
	ExternalLabels map[string]string   `json:"externalLabels"`
	ExternalURL    string              `json:"externalURL"`
	Value          float64             `json:"value"`
	Queries        map[string][]sample `json:"queries"`
}

type sample struct {
	Labels map[string]string `json:"labels"`
	Value  float64           `json:"value"`
}

type data struct {
	Now           time.Time                    `json:"now"`
	Notifications map[string]alertmanager.Data `json:"notifications"`
	Rules         map[string]ruleData          `json:"rules"`
}

const definitions = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"

func main() {
	raw, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var all data
	if err := json.Unmarshal(raw, &all); err != nil {
		log.Fatal(err)
	}
	alertmanager.DefaultFuncs["now"] = func() time.Time { return all.Now }
	alertmanager.DefaultFuncs["since"] = func(t time.Time) time.Duration { return all.Now.Sub(t) }
	templates, err := alertmanager.FromGlobs(nil)
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for lines.Scan() {
		var c testCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			log.Fatal(err)
		}
		c.Want, c.Error = "", ""
		want, err := render(templates, &all, c)
		if err != nil {
			c.Error = err.Error()
		} else if c.Hash {
			h := fnv.New64a()
			h.Write([]byte(want))
			c.Want = fmt.Sprintf("%d bytes %016x", len(want), h.Sum64())
		} else {
			// Bytes that are no UTF-8 become U+FFFD in JSON.
			c.Want = want
		}
		if err := out.Encode(c); err != nil {
			log.Fatal(err)
		}
	}
}

func render(templates *alertmanager.Template, all *data, c testCase) (string, error) {
	if d, ok := all.Notifications[c.Data]; ok {
		if c.Mode == "html" {
			return templates.ExecuteHTMLString(c.Text, &d)
		}
		return templates.ExecuteTextString(c.Text, &d)
	}
	r, ok := all.Rules[c.Data]
	if !ok {
		log.Fatalf("no data %q", c.Data)
	}
	external, err := url.Parse(r.ExternalURL)
	if err != nil {
		log.Fatal(err)
	}
	query := func(_ context.Context, expr string, _ time.Time) (promql.Vector, error) {
		samples, ok := r.Queries[expr]
		if !ok {
			return nil, fmt.Errorf("no answer to %q", expr)
		}
		var v promql.Vector
		for _, s := range samples {
			v = append(v, promql.Sample{Metric: labels.FromMap(s.Labels), F: s.Value})
		}
		return v, nil
	}
	value := promql.Sample{F: r.Value}
	e := prometheus.NewTemplateExpander(
		context.Background(), definitions+c.Text, "case", prometheus.AlertTemplateData(r.Labels, r.ExternalLabels, r.ExternalURL, value),
		model.TimeFromUnixNano(all.Now.UnixNano()), query, external, nil,
	)
	if c.Mode == "html" {
		return e.ExpandHTML(nil)
	}
	return e.Expand()
}
