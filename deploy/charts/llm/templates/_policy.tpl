{{- define "headrace.component" -}}
matchLabels: { app.kubernetes.io/component: {{ . }} }
{{- end }}

{{/* {namespace, podLabels}: pods of another namespace. Both selectors in one item: pods of that kind AND there. */}}
{{- define "headrace.peer" -}}
namespaceSelector:
  matchLabels: { kubernetes.io/metadata.name: {{ .namespace }} }
podSelector:
  matchLabels: {{- toYaml .podLabels | nindent 4 }}
{{- end }}

{{/* {cidrs, namespace, podLabels}: whatever of it is given, as a JSON list. */}}
{{- define "headrace.peers" -}}
{{- $peers := list -}}
{{- range .cidrs -}}
{{- $peers = append $peers (dict "ipBlock" (dict "cidr" .)) -}}
{{- end -}}
{{- if .namespace -}}
{{- $peers = append $peers (include "headrace.peer" . | fromYaml) -}}
{{- end -}}
{{ toJson $peers }}
{{- end }}

{{/*
{root, name, pods, from, to}: one policy. from and to are lists of {peers, ports, udp}; one that is missing says nothing
of that direction, one that is empty allows nothing, which default-deny does already.
*/}}
{{- define "headrace.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  labels: {{- include "headrace.labels" (dict "root" .root "name" .name "component" "network") | nindent 4 }}
spec:
  podSelector: {{- toYaml .pods | nindent 4 }}
  policyTypes:
    {{- if .from }}
    - Ingress
    {{- end }}
    {{- if .to }}
    - Egress
    {{- end }}
  {{- with .from }}
  ingress:
    {{- range . }}
    - from: {{- toYaml .peers | nindent 8 }}
      ports: {{- include "headrace.policyPorts" . | nindent 8 }}
    {{- end }}
  {{- end }}
  {{- with .to }}
  egress:
    {{- range . }}
    - to: {{- toYaml .peers | nindent 8 }}
      ports: {{- include "headrace.policyPorts" . | nindent 8 }}
    {{- end }}
  {{- end }}
{{- end }}

{{- define "headrace.policyPorts" -}}
{{- range .ports }}
- { protocol: TCP, port: {{ . }} }
{{- end }}
{{- range .udp }}
- { protocol: UDP, port: {{ . }} }
{{- end }}
{{- end }}
