{{/*
llm-web, llm-api and router: everything that one of them consists of.

{root, name, values, image, args, env, drain, config, init, headless, token}: values is its section; config is what
/etc/headrace/headrace.yaml holds, init a list of init containers, token whether it talks to the API server.
*/}}
{{- define "headrace.service" -}}
{{- $ports := include "headrace.ports" (dict "component" .name) | fromJsonArray -}}
{{- $scope := dict "root" .root "name" .name "component" .name -}}
{{- $autoscaled := ne (.values.autoscaling | default (dict "mode" "none")).mode "none" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  labels: {{- include "headrace.labels" $scope | nindent 4 }}
automountServiceAccountToken: false
{{- if .config }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}
  labels: {{- include "headrace.labels" $scope | nindent 4 }}
data:
  headrace.yaml: |
    {{- toYaml .config | nindent 4 }}
{{- end }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels: {{- include "headrace.labels" $scope | nindent 4 }}
  {{- if $autoscaled }}
  annotations: { headrace.io/autoscaled: "true" } # GitOps leaves its replicas alone
  {{- end }}
spec:
  {{- if not $autoscaled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }
  selector:
    matchLabels: {{- include "headrace.selector" $scope | nindent 6 }}
  template:
    metadata:
      labels: {{- include "headrace.podLabels" $scope | nindent 8 }}
      {{- $annotations := .root.Values.pod.annotations }}
      {{- if .config }}
      {{- $annotations = merge (dict "checksum/config" (toYaml .config | sha256sum)) $annotations }}
      {{- end }}
      {{- with $annotations }}
      annotations: {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ .name }}
      automountServiceAccountToken: {{ .token | default false }}
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ include "headrace.grace" (dict "drain" .drain) }}
      securityContext: {{- include "headrace.podSecurity" . | nindent 8 }}
      {{- include "headrace.pullSecrets" . | nindent 6 }}
      topologySpreadConstraints: {{- include "headrace.spread" $scope | nindent 8 }}
      {{- include "headrace.placement" (dict "root" .root) | nindent 6 }}
      {{- with .init }}
      initContainers: {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .name }}
          image: {{ include "headrace.image" (dict "root" .root "image" .name) }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          {{- with .args }}
          args: {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with .env }}
          env: {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            - { name: http, containerPort: {{ index $ports 0 }} }
            - { name: ops, containerPort: {{ index $ports 1 }} }
          {{- include "headrace.probes" (dict "path" "/livez" "startup" 60) | nindent 10 }}
          lifecycle: {{- include "headrace.lifecycle" . | nindent 12 }}
          resources: {{- toYaml .values.resources | nindent 12 }}
          securityContext: {{- include "headrace.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - { name: tmp, mountPath: /tmp }
            {{- if .config }}
            - { name: config, mountPath: /etc/headrace, readOnly: true }
            - { name: state, mountPath: /var/lib/headrace }
            {{- end }}
      volumes:
        - { name: tmp, emptyDir: { sizeLimit: 256Mi } }
        {{- if .config }}
        - { name: config, configMap: { name: {{ .name }} } }
        - name: state
          {{- toYaml (.state | default (dict "emptyDir" (dict "sizeLimit" "2Gi"))) | nindent 10 }}
        {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}-service
  labels: {{- include "headrace.labels" $scope | nindent 4 }}
spec:
  type: ClusterIP
  selector: {{- include "headrace.selector" $scope | nindent 4 }}
  ports:
    - { name: http, port: {{ index $ports 0 }}, targetPort: http, appProtocol: http }
    - { name: ops, port: {{ index $ports 1 }}, targetPort: ops, appProtocol: http }
{{- if .headless }}
---
{{ include "headrace.headless" (dict "root" .root "name" (printf "%s-service-headless" .name) "component" .name "selector" (include "headrace.selector" $scope) "ports" $ports) }}
{{- end }}
---
{{ include "headrace.pdb" $scope }}
{{- if $autoscaled }}
---
{{ include "headrace.autoscaler" (dict "root" .root "name" .name "component" .name "autoscaling" .values.autoscaling "pool" "") }}
{{- end }}
{{- end }}

{{/* {root, name, component, selector, ports}: one address for each pod, ready or not: its clients judge themselves. */}}
{{- define "headrace.headless" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  labels: {{- include "headrace.labels" . | nindent 4 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {{- .selector | nindent 4 }}
  ports:
    - { name: http, port: {{ index .ports 0 }}, targetPort: http, appProtocol: http }
    - { name: ops, port: {{ index .ports 1 }}, targetPort: ops, appProtocol: http }
{{- end }}

{{/* {root, name, component}: one at a time, and pods that are broken anyway never hold up a drain. */}}
{{- define "headrace.pdb" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels: {{- include "headrace.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "headrace.selector" . | nindent 6 }}
{{- end }}
