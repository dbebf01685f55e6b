{{- define "penstock.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "penstock.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "penstock.labels" -}}
{{ include "penstock.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "penstock.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "penstock.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end -}}
{{- end }}

{{- define "penstock.scheme" -}}
{{ if .Values.http.tls.secret }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}

{{/* The configuration file: the values that have names of their own go before those of config. */}}
{{- define "penstock.config" -}}
{{- $own := dict "brokers" .Values.brokers "app" .Values.app "input" .Values.input "output" .Values.output
  "state-dir" "/var/lib/penstock" "http" (printf ":%v" .Values.http.port) "stay" .Values.stay }}
{{- if .Values.http.tls.secret }}
{{- $_ := set $own "http-tls-cert" "/etc/penstock-http/tls.crt" }}
{{- $_ := set $own "http-tls-key" "/etc/penstock-http/tls.key" }}
{{- end }}
{{- with .Values.tls }}
{{- if .enabled }}
{{- $_ := set $own "tls" true }}
{{- if .ca }}{{ $_ := set $own "tls-ca" (printf "/etc/penstock-tls/%s" .ca) }}{{ end }}
{{- if .cert }}{{ $_ := set $own "tls-cert" (printf "/etc/penstock-tls/%s" .cert) }}{{ end }}
{{- if .key }}{{ $_ := set $own "tls-key" (printf "/etc/penstock-tls/%s" .key) }}{{ end }}
{{- end }}
{{- end }}
{{- with .Values.sasl }}
{{- if ne .mechanism "none" }}
{{- $_ := set $own "sasl" .mechanism }}
{{- if .user }}{{ $_ := set $own "sasl-user" .user }}{{ end }}
{{- if .oauth.tokenURL }}{{ $_ := set $own "sasl-oauth-url" .oauth.tokenURL }}{{ end }}
{{- if .oauth.scope }}{{ $_ := set $own "sasl-oauth-scope" .oauth.scope }}{{ end }}
{{- end }}
{{- end }}
{{- toYaml (merge $own .Values.config) }}
{{- end }}
